"""What a destination cannot take waits on disk, in order and within bounds, and is sent when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.types import DeadLetter
from tests.making import make_prediction, make_ref
from tests.outboxes import OutboxBench, full_disk, ids
from workers.outbox.sink import DRAIN_S, LAST_PORTION, REST_RATIO, Depth

ROW_BYTES = 204  # what one of these parcels counts for, with up to 3 more for the digits of its number
Box = Callable[..., OutboxBench]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made: list[OutboxBench] = []

    def make(**bounds: float) -> OutboxBench:
        made.append(OutboxBench(tmp_path / "outbox.sqlite", **bounds))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bench in made:
        bench.sink.close()


def test_while_nothing_waits_no_byte_goes_to_the_disk(box: Box) -> None:
    bench = box()
    before = {path.name: path.read_bytes() for path in bench.path.parent.iterdir()}
    with full_disk():
        for sequence in range(10):
            bench.deliver(sequence)
            bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(10))
    assert {path.name: path.read_bytes() for path in bench.path.parent.iterdir()} == before


def test_while_the_destination_is_away_deliveries_are_taken_and_wait(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0, 1)
    bench.clock.advance(2.0)
    bench.deliver(2)
    n_rows, n_bytes, oldest_age_s = bench.sink.depth()
    assert (n_rows, oldest_age_s) == (3, 2.0)
    assert n_bytes == 3 * ROW_BYTES
    assert bench.sink.failing == "expected a broker, got none, as the test says"


def test_what_waits_goes_first_and_byte_for_byte_when_the_destination_is_back(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0, 1)
    original = bytes(range(256))
    bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "cut short", original, make_ref(2)))
    bench.deliver(3)
    bench.come_back()
    bench.deliver(4)
    assert bench.destination.event_ids == ids(0, 1, 2, 3, 4)
    letter = bench.destination.received[2]
    assert letter == bench.destination.pack(DeadLetter("cap-01", "undecodable", "", original, make_ref(2)))[0]
    assert bench.destination.received[3] == bench.destination.pack(make_prediction(3))[0]
    assert bench.sink.depth() == Depth(0, 0, 0.0)
    assert bench.sink.failing is None


def test_an_idle_flush_drains(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(*range(100))
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(100))


def test_while_backing_off_a_call_only_appends(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0)
    bench.deliver(1)
    bench.sink.flush()
    assert bench.destination.attempts == [1]
    bench.clock.advance(0.5)
    bench.sink.flush()
    assert bench.destination.attempts == [1, 2]


def test_after_an_attempt_that_hung_the_line_has_most_of_the_time(box: Box) -> None:
    bench = box()
    bench.destination.away, bench.destination.takes_s = True, 10.0
    bench.deliver(0)
    bench.clock.advance(REST_RATIO * 10.0 - 0.1)
    bench.deliver(1)
    assert len(bench.destination.attempts) == 1
    bench.clock.advance(0.1)
    bench.deliver(2)
    assert len(bench.destination.attempts) == 2


def test_a_call_begins_no_portion_after_its_time_and_goes_on_in_the_next(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(*range(500))
    bench.come_back()
    bench.destination.takes_s = 0.6 * DRAIN_S
    bench.sink.flush()
    assert bench.destination.attempts[1:] == [16, 8]
    bench.deliver(500)
    assert bench.sink.depth().n_rows == 500 - 16 - 8 - 4 - 2 + 1
    bench.destination.takes_s = 0.0
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(501))


def test_portions_shrink_for_a_slow_destination_and_grow_to_their_bound_for_a_quick_one(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(*range(5000))
    bench.come_back()
    bench.destination.takes_s = DRAIN_S
    for _ in range(5):
        bench.sink.flush()
    assert bench.destination.attempts[1:] == [16, 8, 4, 2, 1]
    bench.destination.takes_s = 0.0
    bench.sink.flush()
    assert max(bench.destination.attempts[1:]) == LAST_PORTION
    assert bench.destination.event_ids == ids(*range(5000))


def test_the_first_portion_after_an_outage_is_small_again(box: Box) -> None:
    bench = box()
    for first in (0, 1000):
        bench.destination.away = True
        bench.deliver(*range(first, first + 1000))
        bench.come_back()
        bench.destination.attempts.clear()
        bench.sink.flush()
        assert bench.destination.attempts[0] == 16
    assert bench.destination.event_ids == ids(*range(2000))


def test_a_portion_is_bounded_in_bytes_but_one_parcel_may_be_larger(box: Box) -> None:
    bench = box()
    bench.destination.away, bench.destination.n_bytes = True, 400_000
    bench.deliver(0, 1, 2)
    bench.destination.n_bytes = 1_500_000
    bench.deliver(3)
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.attempts[1:] == [2, 1, 1]


def test_beyond_its_bytes_the_oldest_are_shed_and_counted(box: Box) -> None:
    bench = box(max_bytes=10 * (ROW_BYTES + 10))
    bench.destination.away = True
    for first in range(0, 30, 3):
        bench.deliver(first, first + 1, first + 2)
        assert bench.sink.depth().n_bytes <= bench.max_bytes
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(20, 30))
    assert sum(n for n, _ in bench.shed) == 20
    assert {reason for _, reason in bench.shed} == {"bytes"}


def test_a_delivery_larger_than_the_bound_keeps_its_newest(box: Box) -> None:
    bench = box(max_bytes=10 * (ROW_BYTES + 10))
    bench.destination.away = True
    bench.deliver(0)
    bench.deliver(*range(1, 30))
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(20, 30))
    assert bench.shed == [(20, "bytes")]


def test_a_small_old_parcel_does_not_outlive_a_larger_newer_one(box: Box) -> None:
    bench = box(max_bytes=10 * (ROW_BYTES + 10))
    bench.destination.away, bench.destination.n_bytes = True, 0
    bench.deliver(0)
    bench.destination.n_bytes = 100
    bench.deliver(*range(1, 12))
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(2, 12))


def test_a_parcel_that_can_never_fit_takes_no_other_with_it(box: Box) -> None:
    bench = box(max_bytes=10 * (ROW_BYTES + 10))
    bench.destination.away = True
    bench.deliver(0)
    bench.sink.dead_letter(DeadLetter("cap-01", "too_large", "", bytes(10_000), make_ref(1)))
    bench.deliver(2)
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(0, 2)
    assert bench.shed == [(1, "bytes")]


def test_beyond_its_age_the_oldest_are_shed_and_counted_also_when_idle(box: Box) -> None:
    bench = box(max_age_s=600.0)
    bench.destination.away = True
    bench.deliver(0, 1)
    bench.clock.advance(300.0)
    bench.deliver(2)
    bench.clock.advance(300.0)
    bench.sink.flush()
    assert bench.shed == []
    bench.clock.advance(1.0)
    bench.sink.flush()
    assert bench.shed == [(2, "age")]
    assert bench.sink.depth().oldest_age_s == 301.0
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(2)


def test_ten_minutes_without_the_broker_lose_nothing_within_the_bounds(box: Box) -> None:
    bench = box(max_age_s=3600.0)
    bench.destination.away = True
    for second in range(600):
        bench.deliver(2 * second, 2 * second + 1)
        bench.clock.advance(1.0)
    assert bench.sink.depth().n_rows == 1200
    bench.come_back()
    bench.deliver(1200)
    assert bench.destination.event_ids == ids(*range(1201))
    assert bench.shed == []


def test_a_clock_set_right_while_running_ages_nothing(box: Box) -> None:
    bench = box(max_age_s=600.0)
    bench.destination.away = True
    bench.deliver(0)
    bench.clock.utc_offset += 1e8
    bench.sink.flush()
    assert bench.sink.depth() == (1, bench.sink.depth().n_bytes, 0.0)


def test_what_waits_outlives_a_restart_with_its_age_and_goes_first(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0, 1)
    before = bench.sink.depth()
    bench.restart()
    bench.clock.advance(7.0)
    assert bench.sink.depth() == (before.n_rows, before.n_bytes, 7.0)
    bench.deliver(2)
    bench.come_back()
    bench.deliver(3)
    assert bench.destination.event_ids == ids(0, 1, 2, 3)


def test_closing_drains_once_more_and_releases_the_destination(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0)
    bench.come_back()
    bench.sink.close()
    bench.sink.close()
    assert bench.destination.event_ids == ids(0)
    assert bench.destination.closed


def test_once_interrupted_it_asks_the_destination_no_more_and_keeps_what_comes(box: Box) -> None:
    bench = box()
    bench.sink.interrupt()
    bench.deliver(0, 1)
    bench.sink.close()
    assert (bench.destination.attempts, bench.destination.interrupted) == ([], True)
    bench.restart()
    assert bench.sink.depth().n_rows == 2


def test_depth_may_be_asked_from_another_thread(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0, 1)
    said: list[Depth] = []
    asking = threading.Thread(target=lambda: said.append(bench.sink.depth()))
    asking.start()
    asking.join()
    assert said == [bench.sink.depth()]
