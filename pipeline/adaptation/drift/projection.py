"""Fit the view of a part: class means, principal directions of residuals, the far quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.blocks import (
    COLUMN_LENGTH,
    MAX_MIX,
    N_RESIDUAL,
    STEPS_OF_UNITY,
    Float64Array,
    Int64Array,
    Projection,
)
from pipeline.errors import DataError
from pipeline.types import Float32Array

FAR_SHARE = 0.01  # of the parts in control
MIN_CLASS_PARTS = 30  # below, a class is measured from the mean of all
CHUNK = 16_384  # parts at a time
SMALLEST_VARIANCE = 1e-10
LEAVE_OUT = "leave the broken parts out of the recording"

Rows = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class PartScatter:
    """How single parts scatter: what a block mean would do if parts were independent."""

    log_distance_sd: float
    confidence_sd: float

    def block_sd(self, name: str, *, block: int) -> float:
        """Standard deviation of a chart's numbers for independent parts."""
        if name == "mix":
            return 1.0  # what the square root is for
        if name == "novelty":
            return math.sqrt(block * FAR_SHARE * (1.0 - FAR_SHARE))
        own = {"location": 1.0, "dispersion": self.log_distance_sd, "confidence": self.confidence_sd}
        return own[name] / math.sqrt(block)


def fit_projection(embeddings: Rows, *, probabilities: Float32Array, n_view: int) -> tuple[Projection, PartScatter]:
    """Means and directions from the first n_view parts, the far quantile and the scatter from the others.

    The directions of largest variance are the luckiest too: on the parts that chose them, residuals come out several
    block deviations longer than on any others (measured: a healthy stream at 2.6 times the dispersion limit).
    Raises DataError for numbers that are not finite.
    """
    predicted = probabilities.argmax(axis=1)
    x, y = embeddings[:n_view], predicted[:n_view]
    means = _class_means(x, predicted=y, n_classes=probabilities.shape[1])
    if not (np.isfinite(means).all() and np.isfinite(probabilities).all()):
        raise DataError(f"drift reference: expected finite numbers, got others; {LEAVE_OUT}")
    values, vectors = np.linalg.eigh(_residual_scatter(x, predicted=y, means=means))
    order = np.argsort(values)[::-1][:N_RESIDUAL]
    basis = np.rint(vectors[:, order] * COLUMN_LENGTH)
    scales = 1.0 / (COLUMN_LENGTH * np.sqrt(np.maximum(values[order], SMALLEST_VARIANCE)))
    view = Projection(
        basis=np.ascontiguousarray(basis, dtype=np.float32),
        scales=(scales / STEPS_OF_UNITY).astype(np.float32),
        centres=(means @ basis * scales).astype(np.float32),
        far=float("inf"),
        columns=_mix_columns(predicted, n_classes=probabilities.shape[1]),
    )
    rest = range(n_view, len(embeddings), CHUNK)
    distances = np.concatenate(
        [view.log_distances(embeddings[i : i + CHUNK], predicted=predicted[i : i + CHUNK]) for i in rest]
    )
    confidence = probabilities.max(axis=1)
    if not np.isfinite(distances).all():
        raise DataError(f"drift reference: expected finite embeddings, got others; {LEAVE_OUT}")
    far = float(np.quantile(distances, 1.0 - FAR_SHARE))
    return replace(view, far=far), PartScatter(_sd(distances), _sd(confidence))


def recording_blocks(
    projection: Projection, *, embeddings: Rows, probabilities: Float32Array, block: int
) -> Float64Array:
    """(N, D) -> (N / block, V) numbers of all blocks; N a multiple of block."""
    step = CHUNK // block * block
    out = []
    for at in range(0, len(embeddings), step):
        piece = slice(at, min(at + step, len(embeddings)))
        starts = np.arange(0, piece.stop - piece.start, block)
        sums = projection.sums(embeddings[piece], probabilities=probabilities[piece], starts=starts)
        out.append(projection.block_numbers(sums, block=block))
    return np.concatenate(out)


def _class_means(x: Rows, *, predicted: Int64Array, n_classes: int) -> Float64Array:
    """(N, D) -> (C, D)."""
    sums = np.zeros((n_classes, x.shape[1]))
    for at in _pieces(len(x)):
        hot = np.zeros((at.stop - at.start, n_classes), np.float32)
        hot[np.arange(len(hot)), predicted[at]] = 1.0
        sums += hot.T @ x[at].astype(np.float32)
    counts = np.bincount(predicted, minlength=n_classes)[:, None]
    own: Float64Array = np.where(counts >= MIN_CLASS_PARTS, sums / np.maximum(counts, 1), sums.sum(axis=0) / len(x))
    return own


def _residual_scatter(x: Rows, *, predicted: Int64Array, means: Float64Array) -> Float64Array:
    """(D, D) mean square of residuals."""
    total = np.zeros((x.shape[1], x.shape[1]))
    centres = means.astype(np.float32)
    for at in _pieces(len(x)):
        r = x[at].astype(np.float32) - centres[predicted[at]]
        total += r.T @ r
    return total / len(x)


def _mix_columns(predicted: Int64Array, *, n_classes: int) -> Int64Array:
    """The most frequent class has no column; the next ones have one each; the rest share the last."""
    counts = np.bincount(predicted, minlength=n_classes)
    columns = np.empty(n_classes, np.int64)
    columns[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(n_classes) - 1, MAX_MIX - 1)
    return columns


def _pieces(n: int) -> list[slice]:
    return [slice(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK)]


def _sd(values: npt.NDArray[np.floating[Any]]) -> float:
    return max(float(values.std(dtype=np.float64)), 1e-6)
