"""K: classification by the K texts nearest to an image, and how much K matters on labelled rows.

The published code has no K (all texts vote); the curve shows what a small one would cost or gain on this line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.heads.coder.coding import FloatArray, TextRows, code, uniform_weights
from pipeline.heads.whitening import Labels

NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100)  # of the curve; all texts come on top


def voting(codes: FloatArray, *, texts: TextRows) -> npt.NDArray[np.bool_]:
    """(B, M) cosines -> (B, M): texts with a vote, that is all but the names that are not the best of their class."""
    votes = np.ones(codes.shape, dtype=bool)
    naming = texts.naming
    starts = np.flatnonzero(np.diff(texts.class_of[naming], prepend=-1))
    ends = np.append(starts[1:], naming.size)
    for start, end in zip(starts, ends, strict=True):
        own = naming[start:end]
        votes[:, own] = np.arange(own.size) == codes[:, own].argmax(axis=1)[:, None]
    return votes


def neighbour_votes(image: FloatArray, *, texts: TextRows, weights: FloatArray, k: int | None) -> FloatArray:
    """(B, D) -> (B, M): what each text adds to its class, weight times cosine to the bank less its mean text.

    Only the k nearest voters of the whole bank add anything; all do with None.
    """
    codes = code(image, bank=texts.vectors - texts.vectors.mean(axis=0))
    votes = voting(codes, texts=texts)
    if k is not None and k < texts.vectors.shape[0]:
        ranked = np.where(votes, codes, -np.inf)
        nearest = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
        kept = np.zeros_like(votes)
        np.put_along_axis(kept, nearest, values=True, axis=1)
        votes &= kept
    out: FloatArray = np.where(votes, codes * weights.astype(codes.dtype), codes.dtype.type(0))
    return out


def neighbour_scores(
    image: FloatArray, *, texts: TextRows, weights: FloatArray, k: int | None, scale: float
) -> FloatArray:
    """scale * sum of the votes of each class: (B, D) -> (B, C); with all voters the centred heuristic classifier."""
    votes = neighbour_votes(image, texts=texts, weights=weights, k=k)
    starts = np.flatnonzero(np.diff(texts.class_of, prepend=-1))
    out: FloatArray = image.dtype.type(scale) * np.add.reduceat(votes, starts, axis=1)
    return out


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One K (None: all texts) and its paired difference in accuracy to all texts."""

    k: int | None
    accuracy: float
    gain: float
    standard_error: float


def neighbour_curve(
    image: FloatArray,
    *,
    labels: Labels,
    texts: TextRows,
    weights: FloatArray | None = None,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> tuple[CurvePoint, ...]:
    """Accuracy by K on labelled rows; nothing is fitted to them, so none needs to be held out. All texts come last."""
    weights = uniform_weights(texts) if weights is None else weights

    def right(k: int | None) -> npt.NDArray[np.float64]:
        scores = neighbour_scores(image, texts=texts, weights=weights, k=k, scale=1.0)
        hits: npt.NDArray[np.float64] = (scores.argmax(axis=1) == labels).astype(np.float64)
        return hits

    full = right(None)
    points = []
    for k in (*(k for k in neighbours if k < len(texts.vectors)), None):
        difference = right(k) - full
        error = float(difference.std() / np.sqrt(max(1, labels.size - 1)))
        points.append(CurvePoint(k, float((full + difference).mean()), float(difference.mean()), error))
    return tuple(points)


def choose_neighbours(curve: Sequence[CurvePoint]) -> int | None:
    """The K of largest gain where that exceeds its standard error; else None, all texts."""
    admitted = [point for point in curve if point.gain > point.standard_error]
    return max(admitted, key=lambda point: point.gain).k if admitted else None
