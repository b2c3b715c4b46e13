"""After a promotion the old head keeps deciding in the shadow, and the question is asked the other way round."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.evidence import Evidence
from pipeline.adaptation.gate.values import LabelledPart, LabelStream

_SECONDS_PER_HOUR = 3600.0


class Verdict(StrEnum):
    """Whether the new head stays."""

    WATCH = "watch"
    ROLL_BACK = "roll back"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class ProbationSettings:
    """Limits of a probation."""

    alpha: float = 0.05  # chance of rolling back a head that costs no more: evidence of 20
    min_parts: int = 5000
    min_hours: float = 8.0  # one shift
    min_answered: float = 0.9  # of the disagreements drawn
    max_flip_ratio: float = 2.0  # against the flip rate the gate saw
    flip_frames: int = 1000  # before which the flip rate says nothing
    inclusion_floor: float = 1.0  # smallest probability of labelling a disagreement, declared before
    barred_labellers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProbationReport:
    """What the probation knows now."""

    verdict: Verdict
    reason: str
    frames: int
    labelled: int
    log_e_worse: float  # natural logarithm of the evidence that the new head costs more
    log_e_needed: float
    flip_rate: float
    escape_introduced: int
    escape_removed: int
    ignored: dict[str, int]


class Probation:
    """Watches the new head against the old one until it is confirmed or rolled back; one thread.

    In every `LabelledPart` the champion is the old head, the challenger the new one. Labels of the GATE and the AUDIT
    stream both speak (the audit is four times as dense meanwhile), each with the probability of being labelled at all.
    Both heads decide the same frames, so a change of product mix cancels.
    """

    def __init__(
        self, costs: CostMatrix, *, gate_flip_rate: float, opened_at: float, settings: ProbationSettings | None = None
    ) -> None:
        self._settings = settings or ProbationSettings()
        self._gate_flip_rate = gate_flip_rate
        self._opened_at = opened_at
        self._alarm = ""
        self._convicted = False
        self._evidence = Evidence(
            costs,
            floor=self._settings.inclusion_floor,
            accept_floor=self._settings.inclusion_floor,
            streams=frozenset({LabelStream.GATE, LabelStream.AUDIT}),
            barred=self._settings.barred_labellers,
        )

    def agreed(self, n: int) -> None:
        """`n` more parts were decided alike by both heads."""
        self._evidence.agreed(n)

    def passed_over(self, n: int) -> None:
        """`n` more disagreements were not drawn for labelling."""
        self._evidence.passed_over(n)

    def drawn(self, event_ids: Iterable[str]) -> None:
        """These disagreements go out to labellers."""
        self._evidence.drawn(event_ids)

    def add(self, part: LabelledPart) -> bool:
        """Take one label; False where it may not speak."""
        counted = self._evidence.add(part)
        self._convicted |= self._evidence.worse.log_e >= -math.log(self._settings.alpha)
        return counted

    def alarm(self, reason: str) -> None:
        """Something else condemns the head: the golden set at reload, the escape audit. It is rolled back."""
        self._alarm = self._alarm or reason

    def judge(self, *, now: float) -> ProbationReport:
        """Look, as often as one likes; after every label is best."""
        verdict, reason = self._verdict(now=now)
        seen = self._evidence
        return ProbationReport(
            verdict=verdict,
            reason=reason,
            frames=seen.n_frames,
            labelled=seen.n_labelled,
            log_e_worse=seen.worse.log_e,
            log_e_needed=-math.log(self._settings.alpha),
            flip_rate=seen.flip_rate,
            escape_introduced=seen.n_introduced,
            escape_removed=seen.n_removed,
            ignored=dict(seen.ignored),
        )

    def _verdict(self, *, now: float) -> tuple[Verdict, str]:
        limits, seen = self._settings, self._evidence
        if self._alarm:
            return Verdict.ROLL_BACK, self._alarm
        if self._convicted:
            return Verdict.ROLL_BACK, f"{seen.n_labelled} labels prove that the new head costs more"
        flip_limit = limits.max_flip_ratio * self._gate_flip_rate
        if seen.n_frames >= limits.flip_frames and seen.flip_rate > flip_limit:
            return (
                Verdict.ROLL_BACK,
                f"{seen.flip_rate:.1%} of decisions change, the gate saw {self._gate_flip_rate:.1%}",
            )
        hours = (now - self._opened_at) / _SECONDS_PER_HOUR
        answered = seen.answered_share if seen.n_drawn else float(seen.n_disagreements == 0)
        if seen.n_frames >= limits.min_parts and hours >= limits.min_hours and answered >= limits.min_answered:
            return Verdict.CONFIRM, f"{seen.n_frames} parts in {hours:.1f} hours without evidence against it"
        return Verdict.WATCH, (
            f"{seen.n_frames} of {limits.min_parts} parts, {hours:.1f} of {limits.min_hours:g} hours, "
            f"{answered:.0%} of disagreements answered"
        )
