"""kill -9 at any point: the journal is whole, the chain unbroken, the pointer where the state says (T17)."""

from __future__ import annotations

from pathlib import Path

from tests.adaptation.lifecycle.driving import drive, start
from tests.adaptation.lifecycle.killing import Found, kill_often, look


def test_twenty_kills_leave_nothing_torn(tmp_path: Path) -> None:
    found = kill_often(tmp_path, times=20)
    assert found.faults == []
    assert found.n_kills == 20
    assert len(found.states) >= 6, "kills in many states"


def test_the_look_itself_sees_a_pointer_that_is_not_where_the_state_says(tmp_path: Path) -> None:
    drive(tmp_path, seed=0, n_events=60)
    (tmp_path / "LIVE").write_bytes(b"999")
    state, _, log = start(tmp_path)
    log.close()
    found = Found()
    look(tmp_path, found=found)
    assert any("pointer" in fault for fault in found.faults), state.state
