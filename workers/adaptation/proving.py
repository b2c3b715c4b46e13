"""A challenger before the gate, and a new head on probation: frames and labels in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.gate import Gate
from pipeline.adaptation.gate.probation import Probation, ProbationReport, ProbationSettings
from pipeline.adaptation.gate.values import (
    CandidateFacts,
    GateReport,
    GoldenClass,
    GoldenResult,
    LabelBatch,
    LabelledPart,
    LabelStream,
    StaticChecks,
)
from pipeline.adaptation.support.labels import Label
from pipeline.heads.bundle import HeadBundle
from pipeline.types import Features, Float32Array
from workers.adaptation.asking import Asking
from workers.adaptation.tap import Seen
from workers.adaptation.trial import Round, Trial, class_accuracy
from workers.inference import LiveHead

GOLDEN_LEAST = 4  # held-out founders of a class; fewer say nothing
LATENCY_ROWS = 64


class GateRun:
    """One challenger in the shadow of the live head. One thread."""

    def __init__(
        self,
        challenger: LiveHead,
        *,
        run: str,
        version: int,
        champion: int,
        classes: Sequence[str],
        costs: CostMatrix,
        settings: GateSettings,
        facts: CandidateFacts,
        draw: int,
        opened_at: float,
    ) -> None:
        self._gate = Gate(costs, run=run, champion=champion, challenger=version, opened_at=opened_at, settings=settings)
        self._trial = Trial(challenger, classes=classes, pool_frames=settings.min_frames, draw=draw, seed=version)
        self._facts = facts
        self._index = {name: number for number, name in enumerate(classes)}
        self._counted: set[str] = set()
        self._n_batches = 0

    def take(self, seen: Seen, *, asking: Asking, at: float) -> None:
        """Decide a batch twice; ask about a draw when the pool is full."""
        closed = self._trial.take(seen)
        if closed is not None:
            self._gate.agreed(closed.n_agreed)
            self._gate.passed_over(closed.n_passed_over)
            self._gate.drawn([choice.event_id for choice in closed.drawn])
            ask_round(closed, trial=self._trial, asking=asking, at=at)

    def look(self, *, asking: Asking, at: float) -> GateReport:
        """Feed new labels, and decide."""
        parts = new_parts(self._trial, asking=asking, index=self._index, counted=self._counted)
        if parts:
            self._n_batches += 1
            self._gate.add(LabelBatch(f"batch-{self._n_batches}", tuple(parts)))
        seen_all = len(self._trial.classes_seen) > 0
        facts = CandidateFacts(
            static=self._facts.static,
            golden=self._facts.golden,
            class_cycle_seen=seen_all,
            founders_unchanged=self._facts.founders_unchanged,
            promotions_today=self._facts.promotions_today,
        )
        return self._gate.decide(facts, now=at)


class ProbationRun:
    """The new head decides, the old one watches from the shadow. One thread."""

    def __init__(
        self,
        previous: LiveHead,
        *,
        classes: Sequence[str],
        costs: CostMatrix,
        settings: ProbationSettings,
        gate_flip_rate: float,
        draw: int,
        opened_at: float,
        seed: int,
    ) -> None:
        self._probation = Probation(costs, gate_flip_rate=gate_flip_rate, opened_at=opened_at, settings=settings)
        pool = max(1, settings.min_parts // 10)
        self._trial = Trial(previous, classes=classes, pool_frames=pool, draw=draw, seed=seed)
        self._index = {name: number for number, name in enumerate(classes)}
        self._counted: set[str] = set()

    def take(self, seen: Seen, *, asking: Asking, at: float) -> None:
        """Decide a batch twice; ask about a draw when the pool is full."""
        closed = self._trial.take(seen)
        if closed is not None:
            self._probation.agreed(closed.n_agreed)
            self._probation.passed_over(closed.n_passed_over)
            self._probation.drawn([choice.event_id for choice in closed.drawn])
            ask_round(closed, trial=self._trial, asking=asking, at=at)

    def look(self, *, asking: Asking, at: float) -> ProbationReport:
        """Feed new labels, and judge."""
        for part in new_parts(self._trial, asking=asking, index=self._index, counted=self._counted, swapped=True):
            self._probation.add(part)
        return self._probation.judge(now=at)


def ask_round(closed: Round, *, trial: Trial, asking: Asking, at: float) -> None:
    """Questions about what a closed pool drew."""
    found = [(choice, trial.drawn[choice.event_id][0]) for choice in closed.drawn]
    asking.gate([(choice, one.prediction, one.embedding) for choice, one in found], at=at)


def new_parts(
    trial: Trial, *, asking: Asking, index: dict[str, int], counted: set[str], swapped: bool = False
) -> list[LabelledPart]:
    """Answers that have come since; `swapped`: the shadow is the old head, so it is the champion of the comparison."""
    parts = []
    for event_id, label in asking.answered([one for one in trial.drawn if one not in counted]).items():
        counted.add(event_id)
        if label.label not in index:
            continue  # a class the heads do not know: neither was right, and the review of it is somebody else's
        parts.append(_part(trial, event_id=event_id, label=label, truth=index[label.label], swapped=swapped))
    return parts


def _part(trial: Trial, *, event_id: str, label: Label, truth: int, swapped: bool) -> LabelledPart:
    found, inclusion = trial.drawn[event_id]
    live, shadow = found.live, found.shadow
    champion, challenger = (shadow, live) if swapped else (live, shadow)
    return LabelledPart(
        event_id=event_id,
        truth=truth,
        labeller=label.labeller,
        stream=LabelStream.GATE,
        champion=champion,
        champion_confidence=found.prediction.confidence,
        challenger=challenger,
        inclusion=inclusion,
        blind=label.blind,
    )


def candidate_facts(
    challenger: HeadBundle, *, champion: HeadBundle, promotions_today: int, rebuilt: bool
) -> CandidateFacts:
    """What is known before a frame is seen: finite scores, classes, scale, and held-out founders under both heads."""
    probe = probe_rows(challenger)
    ours, theirs = (b.head.score(Features(image=probe)).logits / b.temperature for b in (challenger, champion))
    static = StaticChecks(
        finite=bool(np.isfinite(ours).all()),
        same_classes=challenger.head.classes == champion.head.classes,
        norm_ratio=float(ours.std() / max(float(theirs.std()), 1e-9)),
        latency_ratio=0.0,
        rebuild_equal=rebuilt,
    )
    return CandidateFacts(
        static=static, golden=_golden(challenger, champion=champion), promotions_today=promotions_today
    )


def probe_rows(bundle: HeadBundle) -> Float32Array:
    """Some of the rows it was fitted on."""
    assert bundle.evidence.support is not None  # every challenger is written with its support set
    return bundle.evidence.support.image[:LATENCY_ROWS]


def _golden(challenger: HeadBundle, *, champion: HeadBundle) -> GoldenResult:
    """Both heads' own held-out rows, class by class: neither is judged on rows it was fitted on."""
    both = [b.evidence.held_out for b in (champion, challenger)]
    if both[0] is None or both[1] is None:
        return GoldenResult({})
    old, new = (
        class_accuracy(rows.logits, labels=rows.labels, classes=challenger.head.classes) for rows in both if rows
    )
    classes = {}
    for name, (n_new, right_new) in new.items():
        n_old, right_old = old.get(name, (0, 0))
        if min(n_old, n_new) >= GOLDEN_LEAST:
            classes[name] = GoldenClass(n_old, right_old, round(right_new / n_new * n_old))
    return GoldenResult(classes)
