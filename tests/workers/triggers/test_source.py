"""A triggered source hands on what shows an announced part, and counts the triggers that got nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pipeline.types import SourceFrame
from tests.fakes import FakeClock, FakeSource
from tests.making import make_source_frame
from workers.triggers.queue import TriggerQueue, TriggerRefused, Triggers
from workers.triggers.source import TriggeredSource


class Bench:
    """A camera with a picture every 0.1 s, read by hand."""

    def __init__(self, *, n: int = 100, frames: int = 2, timeout_s: float = 1.0, capacity: int = 4) -> None:
        self.clock = FakeClock()
        self.noted: Counter[str] = Counter()
        queue = TriggerQueue(capacity=capacity)
        self.triggers = Triggers({"cap-01": queue}, clock=self.clock, note=self.note)
        self.source = TriggeredSource(
            FakeSource([make_source_frame() for _ in range(n)], live=True),
            triggers=queue,
            frames=frames,
            timeout_s=timeout_s,
            clock=self.clock,
            note=self.note,
        )
        self.source.open()

    def note(self, camera: str, what: str) -> None:
        assert camera == "cap-01"
        self.noted[what] += 1

    def read(self, n: int = 1) -> list[str | None]:
        """The parts of the pictures handed on, of n pictures."""
        parts: list[str | None] = []
        for _ in range(n):
            self.clock.advance(0.1)
            self.source._source._script = iter([self.picture()])  # type: ignore[attr-defined]
            taken = self.source.read()
            parts += [] if taken is None else [taken.part]
        return parts

    def picture(self) -> SourceFrame:
        return replace(make_source_frame(skipped=3), captured_at=self.clock.utc())


def test_nothing_comes_without_a_trigger_and_so_many_pictures_with_one() -> None:
    bench = Bench(frames=2)
    assert bench.read(5) == []
    bench.triggers.fire("cap-01", "p1")
    assert bench.read(5) == ["p1", "p1"]
    assert bench.noted == {"given": 1}


def test_a_picture_taken_before_the_trigger_is_not_of_the_part() -> None:
    bench = Bench(frames=1)
    early = bench.picture()
    bench.clock.advance(0.05)
    bench.triggers.fire("cap-01", "p1")
    bench.source._source._script = iter([early])  # type: ignore[attr-defined]
    assert bench.source.read() is None
    assert bench.read(2) == ["p1"]


def test_the_next_trigger_ends_the_part_before_it() -> None:
    bench = Bench(frames=5)
    bench.triggers.fire("cap-01", "p1")
    assert bench.read(2) == ["p1", "p1"]
    bench.triggers.fire("cap-01", "p2")
    assert bench.read(2) == ["p2", "p2"]
    assert bench.noted == {"given": 2}


def test_a_trigger_overtaken_before_its_first_picture_is_missed() -> None:
    bench = Bench()
    bench.triggers.fire("cap-01", "p1")
    bench.triggers.fire("cap-01", "p2")
    assert bench.read(3) == ["p2", "p2"]
    assert bench.noted == {"given": 2, "missed": 1}


def test_a_trigger_without_a_picture_in_time_is_missed_once_and_gets_no_later_one() -> None:
    bench = Bench(timeout_s=1.0)
    bench.triggers.fire("cap-01", "p1")
    bench.clock.advance(2.0)
    assert bench.read(3) == []
    assert bench.noted == {"given": 1, "missed": 1}


def test_a_part_that_got_fewer_pictures_than_wanted_is_not_missed() -> None:
    bench = Bench(frames=5, timeout_s=0.25)
    bench.triggers.fire("cap-01", "p1")
    assert bench.read(5) == ["p1", "p1"]
    assert bench.noted == {"given": 1}


def test_more_triggers_than_may_wait_are_refused_and_counted() -> None:
    bench = Bench(capacity=2)
    bench.triggers.fire("cap-01")
    bench.triggers.fire("cap-01")
    with pytest.raises(TriggerRefused, match="as many triggers waiting") as refused:
        bench.triggers.fire("cap-01")
    assert refused.value.reason == "overflow"
    assert bench.noted["overflow"] == 1


def test_an_id_is_made_where_none_is_given_and_no_two_are_equal() -> None:
    bench = Bench(capacity=100)
    assert len({bench.triggers.fire("cap-01") for _ in range(100)}) == 100


@pytest.mark.parametrize("part", ["", "x" * 101, "a\nb"])
def test_an_id_that_is_no_id_is_refused(part: str) -> None:
    with pytest.raises(TriggerRefused, match="part id of 1 to 100 printable"):
        Bench().triggers.fire("cap-01", part)


def test_a_camera_that_nobody_triggers_is_named() -> None:
    with pytest.raises(TriggerRefused, match=r"\(cap-01\), got 'cap-09'"):
        Bench().triggers.fire("cap-09")


def test_pictures_passed_over_are_nobodys_drops() -> None:
    bench = Bench(frames=1)
    bench.triggers.fire("cap-01", "p1")
    bench.source._source._script = iter([bench.picture()])  # type: ignore[attr-defined]
    taken = bench.source.read()
    assert taken is not None
    assert taken.skipped == 0
