"""Whether a stated confidence comes true: accuracy by confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.metrics import N_BINS, Accuracy, expected_calibration_error
from pipeline.heads.calibration import log_softmax
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The rows of one range of confidence."""

    low: float
    high: float
    confidence: float  # mean
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins that hold a row, lowest confidence first."""

    bins: tuple[ReliabilityBin, ...]
    error: float  # expected calibration error, 0 to 1
    mean_confidence: float


def reliability(logits: Float32Array, *, labels: Labels, temperature: float) -> Reliability:
    """From (n, C) logits in the bins of the expected calibration error."""
    log_p = log_softmax((logits / np.float32(temperature)).astype(np.float32))
    confidence = np.exp(log_p.max(axis=1).astype(np.float64))
    right = logits.argmax(axis=1) == labels
    number = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    bins = tuple(
        ReliabilityBin(
            low=b / N_BINS,
            high=(b + 1) / N_BINS,
            confidence=float(confidence[number == b].mean()),
            accuracy=Accuracy(int(right[number == b].sum()), int((number == b).sum())),
        )
        for b in np.unique(number).tolist()
    )
    error = expected_calibration_error(logits, labels=labels, temperature=temperature)
    return Reliability(bins=bins, error=error, mean_confidence=float(confidence.mean()) if labels.size else 0.0)
