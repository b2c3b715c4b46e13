"""Two heads on the same stream: how much does one save against the other, with an interval good at every look?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.values import LabelledPart
from pipeline.errors import DataError

_LARGEST_STAKE = 0.5
_PARTS = 1000  # savings are told per thousand parts


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """What the second head saves, in the cost matrix's unit per 1000 parts; below 0 it costs more."""

    frames: int
    labelled: int
    saved: float  # mean so far
    saved_low: float
    saved_high: float
    alpha: float
    verdict: str


class HeadComparison:
    """Confidence sequence for the mean saving per frame, paired: both heads decide every frame.

    Predictable plug-in empirical Bernstein, Waudby-Smith & Ramdas (2023), theorem 2, on
    x = (floor * gain / pi + 1) / 2 in [0, 1], which is 1/2 for agreements and for disagreements not drawn. Feed frames
    in random order or spread over many product runs: the promise is about each frame given those before.
    """

    def __init__(self, costs: CostMatrix, *, alpha: float = 0.05, inclusion_floor: float = 1.0) -> None:
        self._costs = costs
        self._alpha = alpha
        self._floor = inclusion_floor
        self._n = 0
        self._n_labelled = 0
        self._sum = 0.0
        self._squares = 0.0
        self._stakes = 0.0
        self._staked_sum = 0.0
        self._variance_cost = 0.0

    def agreed(self, n: int) -> None:
        """`n` frames were decided alike, or differently but not drawn for labelling."""
        for _ in range(n):
            self._take(0.5)

    def add(self, part: LabelledPart) -> None:
        """One labelled disagreement; champion is the first head, challenger the second. Raises DataError."""
        if part.challenger is None or not self._floor - 1e-9 <= part.inclusion <= 1.0:
            raise DataError(
                f"comparison: expected two decisions and an inclusion probability within [{self._floor}, 1], "
                f"got {part.challenger} and {part.inclusion} for {part.event_id}; declare the sampler's smallest one"
            )
        gain = self._costs.gain(part.truth, champion=part.champion, challenger=part.challenger)
        self._n_labelled += 1
        self._take(0.5 * (gain * self._floor / part.inclusion + 1.0))

    def report(self) -> ComparisonReport:
        """Look, as often as one likes."""
        if not self._n:
            low, high, mean = -1.0, 1.0, 0.0
        else:
            centre = self._staked_sum / self._stakes
            radius = (math.log(2.0 / self._alpha) + self._variance_cost) / self._stakes
            low, high = (2.0 * max(centre - radius, 0.0) - 1.0), (2.0 * min(centre + radius, 1.0) - 1.0)
            mean = 2.0 * self._sum / self._n - 1.0
        unit = float(self._costs.values.max()) * _PARTS / self._floor
        verdict = "second costs less" if low > 0 else "first costs less" if high < 0 else "undecided"
        return ComparisonReport(self._n, self._n_labelled, mean * unit, low * unit, high * unit, self._alpha, verdict)

    def _take(self, x: float) -> None:
        n = self._n
        mean, variance = (0.5 + self._sum) / (n + 1), (0.25 + self._squares) / (n + 1)
        stake = math.sqrt(2.0 * math.log(2.0 / self._alpha) / (variance * (n + 1) * math.log(n + 2)))
        stake = min(stake, _LARGEST_STAKE)
        self._stakes += stake
        self._staked_sum += stake * x
        self._variance_cost += (x - mean) ** 2 * (-math.log1p(-stake) - stake)
        self._n += 1
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self._n + 1)) ** 2
