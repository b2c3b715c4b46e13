"""The channel is bounded, fair, closable, and holds out for more only as long as it is told."""

from __future__ import annotations

import threading

import pytest

from tests.fakes import FakeClock
from workers.channel import Channel, ChannelClosed, Waiting
from workers.clock import SystemClock


def channel(capacity: int = 4) -> Channel[int]:
    return Channel(capacity=capacity, clock=FakeClock())


def test_items_of_one_lane_come_out_in_order() -> None:
    lane = channel()
    for item in range(4):
        lane.put(item, lane="a")
    assert lane.take() == [0, 1, 2, 3]


def test_a_busy_lane_does_not_starve_a_quiet_one() -> None:
    shared = channel(capacity=100)
    for item in range(50):
        shared.put(item, lane="busy")
    shared.put(1000, lane="quiet")
    assert 1000 in shared.take(rows=lambda n: 2)


def test_the_lane_served_last_comes_last_next_time() -> None:
    shared = channel()
    for lane in "abc":
        shared.put(ord(lane), lane=lane)
        shared.put(ord(lane) + 100, lane=lane)
    assert shared.take(rows=lambda n: 2) == [ord("a"), ord("b")]
    assert shared.take(rows=lambda n: 2) == [ord("c"), ord("a") + 100]


def test_a_full_lane_gives_up_its_oldest_and_leaves_others_alone() -> None:
    shared = channel(capacity=2)
    shared.put(99, lane="other")
    assert [shared.put_evicting(item, lane="a") for item in range(4)] == [None, None, 0, 1]
    assert sorted(shared.take()) == [2, 3, 99]


def test_a_lane_may_have_a_capacity_of_its_own() -> None:
    shared = channel(capacity=2)
    shared.reserve("narrow", capacity=1)
    assert [shared.put_evicting(item, lane="narrow") for item in range(2)] == [None, 0]
    assert [shared.put_evicting(item, lane="usual") for item in range(2)] == [None, None]


def test_put_blocks_on_a_full_lane_until_there_is_room() -> None:
    shared: Channel[int] = Channel(capacity=1, clock=SystemClock())
    shared.put(0, lane="a")
    blocked = threading.Thread(target=lambda: shared.put(1, lane="a"))
    blocked.start()
    assert shared.take() == [0]
    blocked.join(5)
    assert not blocked.is_alive()
    assert shared.take() == [1]


def test_close_wakes_a_blocked_put_which_then_refuses() -> None:
    shared: Channel[int] = Channel(capacity=1, clock=SystemClock())
    shared.put(0, lane="a")
    refused = threading.Event()

    def put() -> None:
        try:
            shared.put(1, lane="a")
        except ChannelClosed:
            refused.set()

    blocked = threading.Thread(target=put)
    blocked.start()
    shared.close()
    assert refused.wait(5)
    assert shared.take() == [0]
    assert shared.take() == []
    assert shared.exhausted


def test_nothing_can_be_put_after_close_not_even_by_eviction() -> None:
    shared = channel(capacity=1)
    shared.put(0, lane="a")
    shared.close()
    with pytest.raises(ChannelClosed):
        shared.put_evicting(1, lane="a")
    assert shared.take() == [0]


def test_take_holds_out_for_as_long_as_it_is_told_and_no_longer() -> None:
    clock = SystemClock()
    shared: Channel[int] = Channel(capacity=4, clock=clock)
    shared.put(0, lane="a")
    asked: list[Waiting] = []

    def hold(waiting: Waiting) -> float:
        asked.append(waiting)
        return max(0.0, 0.02 - waiting.oldest_wait_s)

    started_at = clock.monotonic()
    assert shared.take(hold=hold) == [0]
    assert clock.monotonic() - started_at >= 0.015
    assert len(asked) >= 2
    assert asked[0].n == 1


def test_take_returns_nothing_after_its_time_out() -> None:
    shared: Channel[int] = Channel(capacity=1, clock=SystemClock())
    assert shared.take(timeout_s=0.01) == []
    assert not shared.exhausted


def test_the_gap_between_arrivals_is_smoothed() -> None:
    clock = FakeClock()
    shared: Channel[int] = Channel(capacity=10, clock=clock)
    seen: list[float] = []
    for item in range(5):
        shared.put(item, lane="a")
        clock.advance(0.5)
    shared.take(hold=lambda waiting: seen.append(waiting.gap_s) or 0.0)
    assert seen == [pytest.approx(0.5)]
