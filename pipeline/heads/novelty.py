"""Is this part like anything in the support set: distance to the nearest class, as a share of a threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.heads.folds import Folds
from pipeline.heads.whitening import SHRINKAGE, TINY, Labels, class_means, fit_span, shrunk, within_covariance
from pipeline.types import Float32Array

QUANTILE = 0.995  # of the held-out distances: one known part in 200 is called unknown, before any other evidence
MIN_FOLDS = 3  # with two shots a fold has one image per class, and no within-class scatter to measure


@dataclass(frozen=True, eq=False)
class NoveltyModel:
    """Mahalanobis distance to the nearest class mean under the shared shrunk covariance (Lee et al., 2018).

    Directions outside the span of the support set count with the ridge's own variance: what no support image ever
    showed is what a new class differs by.
    """

    centre: Float32Array  # (D,)
    span: Float32Array  # (D, R), orthonormal
    whitening: Float32Array  # (D, R), span times P^(1/2) within it
    means: Float32Array  # (C, R), whitened class means
    outside_precision: float  # of directions outside the span
    threshold: float  # distance; 1 until a quantile has been taken

    def distance(self, image: Float32Array) -> Float32Array:
        """(B, D) -> (B,) distances."""
        z = image - self.centre
        white = z @ self.whitening
        squared = (white * white).sum(axis=1)[:, None] - 2.0 * white @ self.means.T + (self.means**2).sum(axis=1)
        nearest = np.maximum(squared.min(axis=1), 0.0) + np.float32(self.outside_precision) * self._outside(z)
        out: Float32Array = np.sqrt(nearest).astype(np.float32)
        return out

    def with_mean(self, image: Float32Array) -> NoveltyModel:
        """The model with one class more, whose mean image (1, D) is given; distances to the others stay as they are.

        What of the mean lies outside the span becomes a direction of its own, at the variance it had before.
        """
        z = image - self.centre
        white, means = z @ self.whitening, self.means
        span, whitening = self.span, self.whitening
        beyond = z - (z @ span) @ span.T
        length = float(np.linalg.norm(beyond))
        if span.shape[1] < span.shape[0] and length > 1e-6 * float(np.linalg.norm(z)):
            direction = (beyond / np.float32(length)).T
            gain = np.float32(np.sqrt(self.outside_precision))
            span = np.concatenate([span, direction], axis=1)
            whitening = np.concatenate([whitening, gain * direction], axis=1)
            means = np.concatenate([means, np.zeros((len(means), 1), np.float32)], axis=1)
            white = np.concatenate([white, [[gain * np.float32(length)]]], axis=1, dtype=np.float32)
        return replace(self, span=span, whitening=whitening, means=np.concatenate([means, white]))

    def _outside(self, z: Float32Array) -> Float32Array:
        """(B,) squared length beyond the span; nothing is beyond a span of all dimensions."""
        if self.span.shape[0] == self.span.shape[1]:
            return np.zeros(z.shape[0], np.float32)
        inside = z @ self.span
        out: Float32Array = np.maximum((z * z).sum(axis=1) - (inside * inside).sum(axis=1), 0.0)
        return out

    def score(self, image: Float32Array) -> Float32Array:
        """(B, D) -> (B,) distance / threshold; above 1 nothing known is near."""
        out: Float32Array = self.distance(image) / np.float32(self.threshold)
        return out


def fit_distance(image: Float32Array, *, labels: Labels, n_classes: int, threshold: float = 1.0) -> NoveltyModel:
    """The model without a threshold of its own."""
    span = fit_span(image)
    projected = (image.astype(np.float64) - span.centre) @ span.directions
    within = within_covariance(projected, labels=labels, n_classes=n_classes)
    values, vectors = np.linalg.eigh(shrunk(within, dim=image.shape[1]))
    half = (vectors / np.sqrt(values)) @ vectors.T
    ridge = SHRINKAGE * max(float(np.trace(within)), TINY) / image.shape[1]
    means = class_means(projected, labels=labels, n_classes=n_classes) @ half
    return NoveltyModel(
        centre=span.centre.astype(np.float32),
        span=span.directions.astype(np.float32),
        whitening=(span.directions @ half).astype(np.float32),
        means=means.astype(np.float32),
        outside_precision=1.0 / ridge,
        threshold=threshold,
    )


@dataclass(frozen=True, eq=False)
class NoveltyFit:
    """The model, None below three shots, and the distance of every held-out row to the models that did not see it."""

    model: NoveltyModel | None
    distances: Float32Array  # (N,), NaN where a row was never held out


def fit_novelty(
    image: Float32Array, *, labels: Labels, n_classes: int, folds: Folds, quantile: float = QUANTILE
) -> NoveltyFit:
    """Threshold = quantile of held-out distances; no model below three shots: nothing can be held out.

    Below 200 held-out rows the .995 quantile is the largest distance seen. Fold models saw fewer images than the
    final one, so the threshold errs towards known.
    """
    distances = np.full(labels.size, np.nan, np.float32)
    if folds.n_folds < MIN_FOLDS:
        return NoveltyFit(None, distances)
    for fold in range(folds.n_folds):
        kept, out = folds.kept(fold), folds.held_out(fold)
        if out.size:
            model = fit_distance(image[kept], labels=labels[kept], n_classes=n_classes)
            distances[out] = model.distance(image[out])
    threshold = float(np.quantile(distances[np.isfinite(distances)], quantile, method="higher"))
    model = fit_distance(image, labels=labels, n_classes=n_classes, threshold=max(threshold, 1e-6))
    return NoveltyFit(model, distances)
