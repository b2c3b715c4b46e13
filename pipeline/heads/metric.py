"""Whitening of all directions, seen by the support set or not: the space in which a class is one more mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.whitening import SHRINKAGE, TINY, Labels, Span, within_covariance
from pipeline.types import Float32Array


@dataclass(frozen=True, eq=False)
class Metric:
    """x -> P^(1/2) (x - centre), P the shrunk precision within classes (see `whitening`), in some unit of length.

    A `Whitener` keeps only the directions in which the support set lies. A class that comes later differs in others:
    they count here with the ridge's own variance, so its mean can be told from those of the classes fitted on.
    """

    centre: Float32Array  # (D,)
    span: Float32Array  # (D, R), orthonormal: principal directions within classes
    gains: Float32Array  # (R,), along the span
    outside: float  # in every other direction

    def apply(self, x: Float32Array) -> Float32Array:
        """(B, D) -> (B, D)."""
        z = x - self.centre
        out: Float32Array = np.float32(self.outside) * z
        out += ((z @ self.span) * (self.gains - np.float32(self.outside))) @ self.span.T
        return out


def fit_metric(x: Float32Array, *, labels: Labels, n_classes: int, span: Span, size: float = 1.0) -> Metric:
    """The metric of rows (N, D), of mean squared length `size`; `span` knows no labels, so folds share it."""
    projected = (x.astype(np.float64) - span.centre) @ span.directions
    within = within_covariance(projected, labels=labels, n_classes=n_classes)
    ridge = SHRINKAGE * max(float(np.trace(within)), TINY) / x.shape[1]
    values, vectors = np.linalg.eigh((1.0 - SHRINKAGE) * within)
    gains, outside = 1.0 / np.sqrt(np.maximum(values, 0.0) + ridge), 1.0 / np.sqrt(ridge)
    middle = projected.mean(axis=0)
    length = np.sqrt(np.mean(np.sum(((projected - middle) @ vectors * gains) ** 2, axis=1)))
    scale = np.sqrt(size) / max(float(length), TINY)
    return Metric(
        centre=(span.centre + span.directions @ middle).astype(np.float32),
        span=np.ascontiguousarray(span.directions @ vectors, dtype=np.float32),
        gains=(gains * scale).astype(np.float32),
        outside=float(outside * scale),
    )
