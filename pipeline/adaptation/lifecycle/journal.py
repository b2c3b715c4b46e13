"""The state on disk before anything is done because of it, so that a crash at any point can be answered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipeline.adaptation.lifecycle.codec import state_from_json, state_to_json
from pipeline.adaptation.lifecycle.effects import Effect, entry_effects
from pipeline.adaptation.lifecycle.machine import resume
from pipeline.adaptation.lifecycle.states import LifecycleSettings, RunState, State
from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import TEMPORARY_PREFIX, write_atomic

_FORMAT = 1


class Journal:
    """One context's state in one file. Write, then carry out the effects, then take the next event; one writer.

    The file is the old one or the new one, never half of one. An effect is therefore done at least once, and one
    that was done may be done again: all of them stand that.
    """

    def __init__(self, path: Path, *, settings: LifecycleSettings | None = None) -> None:
        self._path = path
        self._settings = settings or LifecycleSettings()

    def write(self, state: RunState) -> None:
        """On return the state survives a power cut."""
        body = state_to_json(state)
        content = {"format": _FORMAT, "sha256": hashlib.sha256(body.encode()).hexdigest(), "state": body}
        write_atomic(self._path, content=json.dumps(content).encode())

    def read(self) -> RunState | None:
        """The state last written, None before the first. Raises DataError when the file is not what was written."""
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._corrupt("no JSON") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise self._corrupt("another format")
        body = content.get("state")
        if not isinstance(body, str) or hashlib.sha256(body.encode()).hexdigest() != content.get("sha256"):
            raise self._corrupt("a state that does not match its hash")
        return state_from_json(body)

    def open(self, first: RunState, *, at: float) -> tuple[RunState, tuple[Effect, ...]]:
        """Where to go on from after a start, written down, and the effects to carry out (again).

        `first` is used for a new context, and says which head decides where the journal cannot be read: that context
        is on hold, with the reason, until a person thaws it.
        """
        for leftover in self._path.parent.glob(f"{TEMPORARY_PREFIX}{self._path.name}-*"):
            leftover.unlink(missing_ok=True)
        try:
            found = self.read()
        except (DataError, OSError) as error:
            state = _on_hold(first, at=at, reason=f"journal: {error}")
            effects = entry_effects(state)
            self._keep_evidence()
        else:
            state, effects = (first, entry_effects(first)) if found is None else self._resumed(found, at=at)
        self.write(state)
        return state, effects

    def _keep_evidence(self) -> None:
        """A copy, not a rename: between the two steps a crash must not make this look like a new context."""
        try:
            write_atomic(self._path.with_name(f"{self._path.name}.corrupt"), content=self._path.read_bytes())
        except OSError:
            return  # unreadable: there is nothing to keep, and the hold matters more

    def _resumed(self, found: RunState, *, at: float) -> tuple[RunState, tuple[Effect, ...]]:
        return resume(found, at=at, settings=self._settings)

    def _corrupt(self, got: str) -> DataError:
        return DataError(
            f"{self._path}: expected the state as it was written, got {got}; check the disk, then thaw this context"
        )


def _on_hold(first: RunState, *, at: float, reason: str) -> RunState:
    return RunState(
        context=first.context,
        champion=first.champion,
        entered_at=at,
        last_at=at,
        state=State.HOLD,
        reason=reason,
        hold_reason=reason,
    )
