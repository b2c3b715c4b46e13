"""What stands in the journal is what happens after a restart; a journal that cannot be read holds everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adaptation.lifecycle.effects import Alert, AskLabels, Train
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.errors import DataError
from tests.adaptation.lifecycle.driving import FIRST

LABELLING = replace(FIRST, state=State.LABELLING, run="cam-1-1", n_runs=1, step=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.json"


def test_a_new_context_starts_from_the_first_state_and_is_written(path: Path) -> None:
    state, _ = Journal(path).open(FIRST, at=5.0)
    assert state == FIRST
    assert Journal(path).read() == FIRST


def test_after_a_restart_the_last_state_and_its_effects_come_back(path: Path) -> None:
    Journal(path).write(LABELLING)
    state, effects = Journal(path).open(FIRST, at=5.0)
    assert state == LABELLING
    assert AskLabels("cam-1-1") in effects


def test_restarts_are_counted_on_disk_until_the_run_ends(path: Path) -> None:
    Journal(path).write(replace(LABELLING, state=State.TRAINING))
    for _ in range(3):
        state, effects = Journal(path).open(FIRST, at=5.0)
        assert Train("cam-1-1") in effects
    state, _ = Journal(path).open(FIRST, at=5.0)
    assert (state.state, state.run) == (State.COOLDOWN, None)
    assert state.reason == "4 restarts while training"


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "format", "json"])
def test_a_damaged_journal_holds_with_the_reason_and_keeps_the_evidence(path: Path, damage: str) -> None:
    Journal(path).write(LABELLING)
    whole = path.read_bytes()
    damaged = {
        "cut": whole[:-20],
        "bit": whole.replace(b"labelling", b"labellinf"),
        "empty": b"",
        "format": whole.replace(b'"format": 1', b'"format": 2'),
        "json": b"[1]",
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="expected the state as it was written"):
        Journal(path).read()
    live = replace(FIRST, champion=7)
    state, effects = Journal(path).open(live, at=9.0)
    assert (state.state, state.champion) == (State.HOLD, 7)
    assert state.hold_reason.startswith("journal: ")
    assert any(isinstance(effect, Alert) for effect in effects)
    assert path.with_name("journal.json.corrupt").read_bytes() == damaged
    assert Journal(path).open(FIRST, at=10.0)[0] == state, "the hold outlives the next restart"


def test_half_written_files_of_a_killed_process_are_swept_up(path: Path) -> None:
    Journal(path).write(LABELLING)
    leftover = path.parent / ".tmp-journal.json-12345"
    leftover.write_bytes(b"half")
    Journal(path).open(FIRST, at=5.0)
    assert not leftover.exists()


def test_the_file_holds_the_new_state_before_write_returns(path: Path) -> None:
    journal, states = Journal(path), [replace(LABELLING, step=n) for n in range(5)]
    seen: list[RunState | None] = []
    for state in states:
        journal.write(state)
        seen.append(Journal(path).read())
    assert seen == states
