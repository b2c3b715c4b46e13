"""What a region of a camera is in: a label that came several times in a row, told when it changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pipeline.types import Prediction
from workers.sinks.event import SCHEMA_VERSION

STATE_AFTER = 3  # equal labels in a row before a region counts as being in that state
CHANGES_KEPT = 64  # of a region, for the events that are packed again


@dataclass(slots=True)
class _State:
    """One region of one camera: what it is in, and what it may be changing to."""

    label: str | None = None
    candidate: str | None = None
    n: int = 0
    epoch: int = 0
    sequence: int = -1  # the last that counted
    changes: OrderedDict[int, str] = field(default_factory=OrderedDict)  # by sequence: what it changed from


class Debouncer:
    """A state changes after `after` equal labels in a row; asked again about an event it answers the same.

    A batch is packed again when its delivery failed, and frames come again when a partition does: what has counted
    already counts no second time.
    """

    def __init__(self, *, after: int = STATE_AFTER) -> None:
        self._after = after
        self._states: dict[tuple[str, str], _State] = {}

    def change(self, prediction: Prediction) -> str | None:
        """The label the region has changed from ("" at first), or None where it has not changed."""
        ref = prediction.ref
        state = self._states.setdefault((ref.source_id, ref.roi_id), _State())
        if ref.epoch == state.epoch and ref.sequence <= state.sequence:
            return state.changes.get(ref.sequence)
        if ref.epoch != state.epoch:
            state.changes.clear()
        state.epoch, state.sequence = ref.epoch, ref.sequence
        state.n = state.n + 1 if prediction.label == state.candidate else 1
        state.candidate = prediction.label
        if prediction.label == state.label or state.n < self._after:
            return None
        before, state.label = state.label or "", prediction.label
        state.changes[ref.sequence] = before
        if len(state.changes) > CHANGES_KEPT:
            state.changes.popitem(last=False)
        return before


def state_event(now: Prediction, *, before: str, time: str) -> dict[str, Any]:
    """The body of the event that a region has changed."""
    ref = now.ref
    return {
        "schema_version": SCHEMA_VERSION,
        "event_id": f"state-{ref.event_id}",
        "source_id": ref.source_id,
        "roi_id": ref.roi_id,
        "time": time,
        "label": now.label,
        "decision": now.decision.value,
        "previous": before or None,
        "result_id": ref.event_id,
    }
