"""Per-class thresholds, label or review: the rule of the cost matrix, moved only where held-out rows prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision.binomial import lower_bound, upper_bound
from pipeline.decision.costs import CostMatrix
from pipeline.decision.probabilities import Array, Labels, row_weights
from pipeline.errors import DataError
from pipeline.types import Float32Array

Mask = npt.NDArray[np.bool_]

SURE_TO_LOWER = 0.95  # confidence of the bound below which a threshold may sink: leniency has to be proven
SURE_TO_RAISE = 0.80  # caution needs less proof, but more than one mislabelled picture
MAX_STEPS = 32  # rows tried per class and direction


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """Below `value` a person looks at parts that carry this label."""

    name: str
    value: float
    bayes: float  # of the cost matrix alone
    n: int  # held-out rows with this label
    n_wrong: int

    @property
    def moved(self) -> bool:
        """The held-out rows contradict the cost matrix's own rule."""
        return self.value != self.bayes

    @property
    def reason(self) -> str:
        """One sentence for a report."""
        seen = f"{self.n} held-out parts with this label, {self.n_wrong} wrong"
        if not self.moved:
            return f"{self.name}: {self.value:.3f}, the rule of the costs; {seen}: too little to move it"
        return f"{self.name}: {self.value:.3f} instead of {self.bayes:.3f}, which {seen} contradict"


def bayes_thresholds(costs: CostMatrix, *, ratio: Mapping[str, float] | None = None) -> Array:
    """(C,) confidence at which a label costs as much as a review, every error counted as the dearest (Chow, 1970).

    0: a review costs more than any error. 1: a review costs less than being right. `ratio` as in DecisionPolicy.
    """
    weight = np.array([(ratio or {}).get(name, 1.0) for name in costs.classes])
    saved = weight[:, None] * (costs.array[:, :-1] - costs.array[:, -1:])  # by a review, per true and decided class
    waste = -np.diag(saved)  # by the review of a right label
    risk = np.where(np.eye(weight.size, dtype=bool), -np.inf, saved).max(axis=0)
    out: Array = np.where(risk <= 0.0, 0.0, np.where(waste <= 0.0, 1.0, risk / np.maximum(risk + waste, 1e-300)))
    return out


def fit_thresholds(
    probabilities: Float32Array,
    *,
    labels: Labels,
    costs: CostMatrix,
    mix: Array,
    ratio: Mapping[str, float] | None = None,
) -> tuple[ClassThreshold, ...]:
    """From out-of-fold probabilities (M, C), for parts of the class mix (C,); in class order.

    Every threshold starts at the rule of the cost matrix. It sinks past a stretch of rows where the upper bound of
    the error share, times the dearest error, is below the review's cost; it rises to where most is saved by the lower
    bound of what errors cost. Bounds: Clopper & Pearson (1934) at Kish's effective number of weighted rows. With few
    rows nothing is proven and the rule stays: where an escape costs 50 reviews, sinking takes 149 clean rows. The
    bounds hold one by one, not for all stretches at once; what must hold is certified in `guarantee`. `ratio` is the
    policy's, where it has one. Raises DataError.
    """
    if probabilities.shape != (labels.size, len(costs.classes)):
        raise DataError(
            f"thresholds: expected probabilities ({labels.size}, {len(costs.classes)}), got {probabilities.shape}"
        )
    bayes = bayes_thresholds(costs, ratio=ratio)
    winner, weights = probabilities.argmax(axis=1), row_weights(labels, mix=mix)
    found = []
    for c, name in enumerate(costs.classes):
        rows = np.flatnonzero(winner == c)
        block = _Block(
            confidence=probabilities[rows, c].astype(np.float64),
            wrong=labels[rows] != c,
            weights=weights[rows],
            label_cost=costs.array[labels[rows], c],
            review_cost=costs.array[labels[rows], -1],
            dearest=float(costs.dearest_error[c]),
        )
        value = _moved(block, start=float(bayes[c]))
        found.append(ClassThreshold(name, value, float(bayes[c]), rows.size, int(block.wrong.sum())))
    return tuple(found)


def as_policy(thresholds: tuple[ClassThreshold, ...]) -> Mapping[str, float]:
    """What DecisionPolicy takes: the moved ones; the others follow the expected cost of each part, which is sharper."""
    return {one.name: one.value for one in thresholds if one.moved}


@dataclass(frozen=True, eq=False)
class _Block:
    """Held-out rows that carry one label."""

    confidence: Array  # (R,)
    wrong: Mask  # (R,)
    weights: Array  # (R,)
    label_cost: Array  # (R,)
    review_cost: Array  # (R,)
    dearest: float

    def saved_by_label(self, inside: Mask) -> float:
        """Money saved at the least, over the rows inside, by not reviewing them."""
        n, share, total = self._counted(inside)
        upper = upper_bound(share * n, n=n, confidence=SURE_TO_LOWER)
        right = inside & ~self.wrong
        worth = self._mean(self.label_cost, right) * (1.0 - upper) + self.dearest * upper
        return total * (self._mean(self.review_cost, inside) - worth)

    def saved_by_review(self, inside: Mask) -> float:
        """Money saved at the least, over the rows inside, by reviewing them."""
        n, share, total = self._counted(inside)
        lower = lower_bound(share * n, n=n, confidence=SURE_TO_RAISE)
        right, wrong = inside & ~self.wrong, inside & self.wrong
        worth = self._mean(self.label_cost, right) * (1.0 - lower) + self._mean(self.label_cost, wrong) * lower
        return total * (worth - self._mean(self.review_cost, inside))

    def _counted(self, inside: Mask) -> tuple[float, float, float]:
        """Effective rows, weighted share of errors, total weight."""
        w = self.weights[inside]
        total = float(w.sum())
        if total <= 0.0:
            return 0.0, 0.0, 0.0
        return total**2 / float((w * w).sum()), float(w[self.wrong[inside]].sum()) / total, total

    def _mean(self, costs: Array, inside: Mask) -> float:
        w = self.weights[inside]
        return float((w * costs[inside]).sum() / w.sum()) if w.sum() > 0.0 else 0.0


def _moved(block: _Block, *, start: float) -> float:
    """Down by stretches of rows that each prove their saving; else up to the largest proven one; else `start`."""
    lowest = start
    for value in reversed(_steps(block.confidence[block.confidence < start])):
        if block.saved_by_label((block.confidence >= value) & (block.confidence < lowest)) > 0.0:
            lowest = value
    if lowest < start:
        return lowest
    best, saving = start, 0.0
    for seen in _steps(block.confidence[block.confidence >= start]):
        value = float(np.nextafter(np.float32(seen), np.float32(2.0)))  # just above the row, so that it is reviewed
        gain = block.saved_by_review((block.confidence >= start) & (block.confidence < value))
        if gain > saving:
            best, saving = value, gain
    return min(best, 1.0)


def _steps(confidence: Array) -> list[float]:
    values = np.unique(confidence)
    chosen = values[np.unique(np.linspace(0, values.size - 1, MAX_STEPS).astype(int))] if values.size else values
    return [float(v) for v in chosen]
