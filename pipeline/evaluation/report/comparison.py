"""Before and after on the same images: the paired difference, and the smallest one that so many images can show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.decision.binomial import lower_bound, upper_bound
from pipeline.evaluation.metrics import Accuracy, accuracy, mcnemar
from pipeline.heads.report import Z_95
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

Z_POWER = 0.841621  # normal quantile of 80 % power
ONE_SIDED = 0.975  # of each limit: two-sided 95 %
N_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Counted:
    """k of n with the exact two-sided 95 % interval (Clopper & Pearson, 1934); fractions."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.k / self.n if self.n else None


def counted(k: int, *, n: int) -> Counted:
    """With its interval; 0 to 1 where n is 0."""
    low = lower_bound(k, n=float(n), confidence=ONE_SIDED)
    return Counted(k, n, low, upper_bound(k, n=float(n), confidence=ONE_SIDED) if n else 1.0)


@dataclass(frozen=True, slots=True)
class Paired:
    """The gain in accuracy on n images judged twice; fractions."""

    only_before: int  # right before and wrong after
    only_after: int
    n: int
    p_value: float  # exact McNemar test, two-sided

    @property
    def value(self) -> float:
        """Accuracy after less accuracy before."""
        return (self.only_after - self.only_before) / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by half an image added to each cell of the 2 x 2 table (Agresti & Min, 2005)."""
        n = self.n + 2.0
        gain, changed = (self.only_after - self.only_before) / n, (self.only_after + self.only_before + 1.0) / n
        half = Z_95 * math.sqrt(max(changed - gain * gain, 0.0) / n)
        return max(-1.0, gain - half), min(1.0, gain + half)


def paired(before: Float32Array, *, after: Float32Array, labels: Labels) -> Paired:
    """From (n, C) logits of both on the same rows."""
    test = mcnemar(before, second=after, labels=labels)
    return Paired(test.only_first, test.only_second, int(labels.size), test.p_value)


def smallest_difference(n: int, *, changed: float = 0.0) -> float | None:
    """Difference in accuracy that n images show with 80 % power at the 5 % level; None where none can be shown.

    n d^2 = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 for a share psi of images that only one of the two gets right
    (Connor, 1987). psi is `changed`, or d itself, its least, where that is more: every change is a gain.
    """

    def missing(d: float) -> bool:
        psi = max(changed, d)
        return (Z_95 * math.sqrt(psi) + Z_POWER * math.sqrt(max(psi - d * d, 0.0))) ** 2 > n * d * d

    if n < 1 or missing(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if missing(middle) else (low, middle)
    return high


def images_needed(n: Accuracy, *, least: float) -> int | None:
    """Sealed images from which this accuracy's lower limit would reach `least`; None where it never would."""
    if n.value <= least:
        return None
    size = max(n.n, 1)
    while Accuracy(int(size * n.value), size).interval[0] < least:
        size = math.ceil(size * 1.02) + 1
    return size


def confusion_matrix(predicted: Labels, *, labels: Labels, n_classes: int) -> Labels:
    """(C, C) counts, truth in rows."""
    matrix = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


@dataclass(frozen=True, eq=False)
class Comparison:
    """Before and after on the sealed images."""

    before: Accuracy
    after: Accuracy
    gain: Paired
    smallest_difference: float | None  # between two heads whose answers differ as often as before and after
    smallest_possible: float | None  # where every changed answer is a gain
    matrix_before: Labels  # (C, C), truth in rows
    matrix_after: Labels


def compare(before: Float32Array, *, after: Float32Array, labels: Labels) -> Comparison:
    """From (n, C) logits of both on the same rows."""
    gain, n_classes = paired(before, after=after, labels=labels), int(after.shape[1])
    return Comparison(
        before=accuracy(before, labels=labels),
        after=accuracy(after, labels=labels),
        gain=gain,
        smallest_difference=smallest_difference(gain.n, changed=(gain.only_before + gain.only_after) / max(gain.n, 1)),
        smallest_possible=smallest_difference(gain.n),
        matrix_before=confusion_matrix(before.argmax(axis=1), labels=labels, n_classes=n_classes),
        matrix_after=confusion_matrix(after.argmax(axis=1), labels=labels, n_classes=n_classes),
    )
