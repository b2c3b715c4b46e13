"""The one sentence on top: good enough to trial, or what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.evaluation.metrics import Accuracy
from pipeline.evaluation.report.comparison import Paired, images_needed

LEAST = 0.9  # accuracy that the sealed images have to show, as the lower end of its interval

Reason = Literal["ready", "too_low", "too_few", "worse"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ready`, or the first reason why not."""

    reason: Reason
    least: float
    images_needed: int | None  # sealed images that would show it at this accuracy; None where none would

    @property
    def ready(self) -> bool:
        """Good enough to trial."""
        return self.reason == "ready"


def verdict(after: Accuracy, *, gain: Paired, least: float) -> Verdict:
    """Ready when the 95 % interval's lower end reaches `least` and the head is not shown to be worse than before."""
    needed = images_needed(after, least=least)
    if gain.interval[1] < 0.0:
        return Verdict("worse", least, needed)
    if after.interval[0] >= least:
        return Verdict("ready", least, needed)
    return Verdict("too_few" if after.value > least else "too_low", least, needed)
