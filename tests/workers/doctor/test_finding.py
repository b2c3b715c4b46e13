"""Checks run beside each other; none can break or delay the others."""

from __future__ import annotations

import threading

from pipeline.errors import SourceUnavailable
from tests.fakes import FakeClock
from workers.clock import SystemClock
from workers.doctor.finding import Check, Finding, State, ok, run_together


def _raise(error: Exception) -> Finding:
    raise error


def test_findings_come_in_the_order_of_the_checks_with_the_time_they_took() -> None:
    clock = FakeClock()

    def slow() -> Finding:
        clock.advance(2.0)
        return ok("b", "fine")

    found = list(run_together([Check("b", slow, 10.0)], clock=clock))
    found += run_together([Check("c", lambda: ok("c", "fine"), 10.0)], clock=clock)
    assert [(one.name, one.state, one.took_s) for one in found] == [("b", State.OK, 2.0), ("c", State.OK, 0.0)]


def test_one_that_raises_is_bad_and_the_others_are_found() -> None:
    checks = [
        Check("expected", lambda: _raise(SourceUnavailable("rtsp://joe:hunter2@cap/1: refused")), 10.0),
        Check("defect", lambda: _raise(KeyError("x")), 10.0),
        Check("well", lambda: ok("well", "fine"), 10.0),
    ]
    expected, defect, well = run_together(checks, clock=SystemClock())
    assert (expected.state, expected.found) == (State.BAD, "rtsp://joe:***@cap/1: refused")
    assert (defect.state, defect.found) == (State.BAD, "KeyError: 'x'")
    assert well.state is State.OK


def test_one_that_hangs_is_bad_after_its_limit_and_the_others_are_found() -> None:
    let_go = threading.Event()

    def hang() -> Finding:
        let_go.wait(30.0)
        return ok("hangs", "late")

    checks = [Check("hangs", hang, 0.05), Check("well", lambda: ok("well", "fine"), 10.0)]
    hung, well = run_together(checks, clock=SystemClock())
    let_go.set()
    assert (hung.name, hung.state, hung.found) == ("hangs", State.BAD, "no answer within 0.05 s")
    assert well.state is State.OK
