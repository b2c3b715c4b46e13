"""Numbers about predictions: accuracy with its interval, calibration error, and whether two heads really differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.heads.calibration import log_softmax
from pipeline.heads.report import Accuracy, accuracy
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

__all__ = ["Accuracy", "McNemar", "accuracy", "expected_calibration_error", "mcnemar", "mean_and_sd"]

N_BINS = 15  # of confidence, equal width, as in Guo et al. (2017)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two heads on the same rows."""

    only_first: int  # right where the other is wrong
    only_second: int
    p_value: float  # exact, two-sided


def expected_calibration_error(logits: Float32Array, *, labels: Labels, temperature: float) -> float:
    """Mean over rows of |confidence - accuracy| of the row's confidence bin (Naeini et al., 2015), 15 bins; 0 to 1."""
    if not labels.size:
        return 0.0
    log_p = log_softmax((logits / np.float32(temperature)).astype(np.float32))
    confidence = np.exp(log_p.max(axis=1).astype(np.float64))
    right = (logits.argmax(axis=1) == labels).astype(np.float64)
    bins = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=N_BINS)
    return float(np.abs(gaps).sum() / labels.size)


def mcnemar(first: Float32Array, *, second: Float32Array, labels: Labels) -> McNemar:
    """Exact McNemar test (1947) on (N, C) logits of two heads: binomial on the rows where only one is right."""
    a, b = first.argmax(axis=1) == labels, second.argmax(axis=1) == labels
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    n, k = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    p_value = min(1.0, float(2 * tail / 2**n)) if n else 1.0
    return McNemar(only_first, only_second, p_value)


def mean_and_sd(values: list[float]) -> tuple[float, float]:
    """Mean, and the sample standard deviation (0 for one value)."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), sd
