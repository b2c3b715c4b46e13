"""Multinomial logistic regression started at the class means: the plain baseline every other head is held against."""

from __future__ import annotations

import numpy as np

from pipeline.heads.lbfgs import Vector, cross_entropy, minimise
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels, class_means, fit_span
from pipeline.types import Features, Float32Array

INVERSE_PENALTY = 100.0  # sum CE + |W|^2 / (2 * 100); 10 to 1000 give the same within a point on unit features
MAX_ITERATIONS = 100


def fit_linear(
    features: Features,
    *,
    labels: Labels,
    groups: Labels,
    classes: tuple[str, ...],
    text: ZeroShotHead | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> AffineHead:
    """min_W,b sum_i CE(W x_i + b, y_i) + |W|^2 / (2 * 100), image features only; L-BFGS from the class means.

    Texts serve as `Scores.zero_shot` and nothing else. The optimum lies in the span of the N rows, so that is where
    it is sought; the problem is convex and the result deterministic.
    """
    image = features.image
    span = fit_span(image, max_rank=image.shape[1])
    x = (image.astype(np.float64) - span.centre) @ span.directions  # (N, R)
    weights, bias = _minimise(
        x.astype(np.float32), labels=labels, n_classes=len(classes), max_iterations=max_iterations
    )
    prior, _ = fit_prior(image, labels=labels, groups=groups, classes=classes, text=text)
    return AffineHead(
        kind="linear",
        prior=prior,
        centre=span.centre.astype(np.float32),
        weights=(weights @ span.directions.T.astype(np.float32)).astype(np.float32),
        bias=bias,
    )


def _minimise(
    x: Float32Array, *, labels: Labels, n_classes: int, max_iterations: int
) -> tuple[Float32Array, Float32Array]:
    start = class_means(x.astype(np.float64), labels=labels, n_classes=n_classes)
    size, hold = start.size, 1.0 / (INVERSE_PENALTY * labels.size)

    def objective(vector: Vector) -> tuple[float, Vector]:
        w, b = vector[:size].reshape(start.shape), vector[size:]
        value, slope = cross_entropy(x @ w.T.astype(np.float32) + b.astype(np.float32), labels=labels)
        by_w = (slope.T @ x).astype(np.float64) + hold * w
        by_b = slope.sum(axis=0, dtype=np.float64)
        return value + 0.5 * hold * float((w * w).sum()), np.concatenate([by_w.ravel(), by_b])

    found = minimise(
        objective, start=np.concatenate([start.ravel(), np.zeros(n_classes)]), max_iterations=max_iterations
    )
    return found[:size].reshape(start.shape).astype(np.float32), found[size:].astype(np.float32)
