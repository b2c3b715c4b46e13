"""Buffered pictures are told from fresh ones by waiting and by their own time, on cameras of the tests' making."""

from __future__ import annotations

from workers.sources.freshness import FreshnessGate

INTERVAL_S = 0.04


def ask(gate: FreshnessGate, *, grab_s: float, now: float, stream_s: float) -> bool:
    return gate.is_stale(grab_s=grab_s, now=now, stream_s=stream_s, interval_s=INTERVAL_S)


def test_pictures_that_lie_ready_before_the_first_wait_are_stale() -> None:
    gate = FreshnessGate()
    assert ask(gate, grab_s=0.0001, now=10.0, stream_s=0.04)
    assert ask(gate, grab_s=0.008, now=10.0, stream_s=0.08)  # decoding a big picture takes that long


def test_a_picture_that_was_waited_for_is_fresh() -> None:
    assert not ask(FreshnessGate(), grab_s=0.03, now=10.0, stream_s=1.0)


def test_the_newest_picture_is_fresh_although_it_lay_ready() -> None:
    gate = FreshnessGate()
    ask(gate, grab_s=0.03, now=10.0, stream_s=1.0)
    assert not ask(gate, grab_s=0.0001, now=10.06, stream_s=1.04)  # 20 ms old, the next is not due


def test_a_picture_with_a_newer_one_behind_it_is_stale() -> None:
    gate = FreshnessGate()
    ask(gate, grab_s=0.03, now=10.0, stream_s=1.0)
    assert ask(gate, grab_s=0.0001, now=10.5, stream_s=1.04)
    assert not ask(gate, grab_s=0.0001, now=10.5, stream_s=1.48)


def test_without_stream_time_only_waiting_proves_freshness() -> None:
    gate = FreshnessGate()
    assert not ask(gate, grab_s=0.03, now=10.0, stream_s=0.0)
    assert ask(gate, grab_s=0.0001, now=10.01, stream_s=0.0)
    assert ask(gate, grab_s=0.0001, now=10.01, stream_s=9.0)


def test_a_reader_that_never_waits_empties_the_buffer_now_and_then() -> None:
    gate = FreshnessGate()
    ask(gate, grab_s=0.03, now=10.0, stream_s=1.0)
    assert not ask(gate, grab_s=0.0001, now=19.9, stream_s=10.9)
    assert ask(gate, grab_s=0.0001, now=20.1, stream_s=11.1)


def test_the_usual_rate_is_assumed_where_the_stream_tells_none() -> None:
    gate = FreshnessGate()
    assert not gate.is_stale(grab_s=0.03, now=10.0, stream_s=1.0, interval_s=0.0)
    assert gate.is_stale(grab_s=0.001, now=10.1, stream_s=1.01, interval_s=0.0)
