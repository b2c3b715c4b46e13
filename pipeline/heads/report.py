"""What a fit says about itself: accuracy with its interval, confused pairs, choices, warnings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.heads.folds import shots_per_class
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

Z_95 = 1.959964  # normal quantile of a two-sided 95 % interval
MAX_PAIRS = 8  # confused pairs kept in a manifest; the whole matrix is the report's


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right out of n, with Wilson's 95 % interval (1927); fractions."""

    n_right: int
    n: int

    @property
    def value(self) -> float:
        """Fraction right; nan when nothing was judged."""
        return self.n_right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval, inside [0, 1] even at 0 or n right."""
        if not self.n:
            return (0.0, 1.0)
        p, n, z = self.value, self.n, Z_95
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (max(0.0, middle - half), min(1.0, middle + half))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "low": low, "high": high, "n_right": self.n_right, "n": self.n}


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Images of `truth` that were called `predicted`, out of fold."""

    truth: str
    predicted: str
    count: int
    n_truth: int


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was measured while fitting; every accuracy is out of fold."""

    n_images: int
    n_classes: int
    shots: tuple[int, ...]  # per class, in class order
    folds: str  # 4-fold | leave-one-out | none
    seed: int
    prior: str  # zero_shot | prototype
    accuracy_zero_shot: Accuracy
    accuracy_head: Accuracy
    confused_before: tuple[ConfusedPair, ...]
    confused_after: tuple[ConfusedPair, ...]
    temperature: float
    fusion: dict[str, float]
    novelty_threshold: float | None
    notes: tuple[str, ...]
    choice: dict[str, Any] | None = None  # what `auto` or a search tried, as plain values

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest and `--json`."""
        plain = asdict(self)
        plain["accuracy_zero_shot"] = self.accuracy_zero_shot.to_json()
        plain["accuracy_head"] = self.accuracy_head.to_json()
        return plain


def fit_report(
    before: Float32Array,
    *,
    after: Float32Array,
    judged: Labels,
    labels: Labels,
    groups: Labels,
    classes: tuple[str, ...],
) -> FitReport:
    """What out-of-fold logits (M, C) with labels `judged` (M,) say; choices are added by the caller."""
    shots = shots_per_class(labels, groups=groups, n_classes=len(classes))
    return FitReport(
        n_images=int(shots.sum()),
        n_classes=len(classes),
        shots=tuple(int(k) for k in shots),
        folds="",
        seed=0,
        prior="",
        accuracy_zero_shot=accuracy(before, labels=judged),
        accuracy_head=accuracy(after, labels=judged),
        confused_before=confused_pairs(before, labels=judged, classes=classes),
        confused_after=confused_pairs(after, labels=judged, classes=classes),
        temperature=1.0,
        fusion={},
        novelty_threshold=None,
        notes=(),
    )


def accuracy(logits: Float32Array, *, labels: Labels) -> Accuracy:
    """Of (n, C) logits."""
    return Accuracy(n_right=int((logits.argmax(axis=1) == labels).sum()), n=int(labels.size))


def confused_pairs(logits: Float32Array, *, labels: Labels, classes: tuple[str, ...]) -> tuple[ConfusedPair, ...]:
    """The most frequent wrong answers, most frequent first."""
    if not labels.size:
        return ()
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(matrix, (labels, logits.argmax(axis=1)), 1)
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = ((int(i) // len(classes), int(i) % len(classes)) for i in order)
    return tuple(
        ConfusedPair(truth=classes[t], predicted=classes[p], count=int(matrix[t, p]), n_truth=int(totals[t]))
        for t, p in pairs
        if matrix[t, p]
    )
