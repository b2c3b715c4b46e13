"""What is known of each camera's drift, heard from the loop and counted beside it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.drift.spc import clopper_pearson
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.adaptation.support.labels import Label
from pipeline.interfaces import Clock
from pipeline.types import Prediction
from workers.adaptation.audits import ESCAPE_PROMISE, OVERKILL_PROMISE
from workers.review.backend import DriftLine, Harm

LEAST_AUDITED = 20  # labels, or "no harm so far" says nothing
AUDIT = "audit"  # what the loop calls the labels where they are the alarm
SETTLED = (State.COMMISSIONING, State.MONITORING)
OWN = (State.SUSPECT, State.DIAGNOSE, State.BLOCKED, State.REBASELINE, State.LABELLING, State.TRAINING)


@dataclass(frozen=True, slots=True)
class Needs:
    """How much each state waits for."""

    teach: int  # labels
    gate: int
    reference_parts: int
    probation_parts: int


class DriftFacts:
    """`hear` belongs to the loop's thread, `count` to the inference thread; the rest may be called from any."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Cause, float]] = {}  # by camera, and since when
        self._harm = False
        self._n_parts = Counter[str]()  # by camera, in this state

    def hear(self, kind: str, told: Mapping[str, Any]) -> None:
        """What the loop announces."""
        with self._lock:
            if kind == "heads":
                self._n_parts.clear()
                if State(told["after"]) in SETTLED:
                    self._found, self._harm = {}, False
            elif told["source_id"] == AUDIT:
                self._harm = True
            else:
                self._found.setdefault(told["source_id"], (Cause(told["cause"]), self._clock.utc()))

    def count(self, predictions: Sequence[Prediction]) -> None:
        """Parts go by."""
        with self._lock:
            self._n_parts.update(one.ref.source_id for one in predictions)

    def began_at(self, state: RunState) -> float:
        """When the drift was first seen, else when the state was entered."""
        with self._lock:
            return min([at for _, at in self._found.values()], default=state.entered_at)

    def lines(
        self,
        cameras: Iterable[str],
        *,
        state: RunState,
        needs: Needs,
        n_labels: int,
        audited: Mapping[str, Sequence[Label]],
        good: frozenset[str],
    ) -> tuple[DriftLine, ...]:
        """One per camera; `n_labels` and `audited` (by camera) are those since `began_at`."""
        with self._lock:
            found, heard, n_parts = dict(self._found), self._harm, Counter(self._n_parts)
        gating = state.state is State.GATING
        one = DriftLine(
            camera="",
            state=state.state,
            since=state.entered_at,
            n_labels=n_labels,
            n_labels_needed=needs.gate if gating else needs.teach,
            n_parts_needed=needs.probation_parts if state.on_probation else needs.reference_parts,
            head_version=state.champion if state.on_probation else state.candidate,
            hold_reason=state.hold_reason,
        )
        return tuple(
            replace(
                one,
                camera=camera,
                state=State.MONITORING if state.state in OWN and found and camera not in found else state.state,
                since=found[camera][1] if camera in found else state.entered_at,
                cause=found[camera][0] if camera in found else None,
                harm=harm_of(audited.get(camera, ()), good=good, heard=heard),
                n_parts=n_parts[camera],
            )
            for camera in cameras
        )


def harm_of(labels: Sequence[Label], *, good: frozenset[str], heard: bool) -> Harm:
    """What labels of parts drawn by chance say since a drift began; `heard`: an audit chart has alarmed already."""
    if heard:
        return Harm.MEASURED
    judged = [(one.model_label in good, one.label in good) for one in labels if one.model_label is not None]
    for accepted, promise in ((True, ESCAPE_PROMISE), (False, OVERKILL_PROMISE)):
        wrong = [is_good != accepted for called_good, is_good in judged if called_good is accepted]
        if wrong and clopper_pearson(sum(wrong), n=len(wrong)).low > promise:
            return Harm.MEASURED
    return Harm.NONE_SO_FAR if len(judged) >= LEAST_AUDITED else Harm.UNKNOWN
