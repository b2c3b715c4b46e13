"""A probe in whitened coordinates that starts at the shared-covariance Gaussian classifier and is held there by 1/K."""

from __future__ import annotations

import numpy as np

from pipeline.heads.lbfgs import Vector, cross_entropy, minimise
from pipeline.heads.whitening import Labels, class_means, fit_span, fit_whitener
from pipeline.types import Float32Array

GAIN = 3.0  # logit units per unit of whitened mean squared length
MAX_ITERATIONS = 25


def fit_whitened_probe(
    image: Float32Array, *, labels: Labels, n_classes: int
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Weights (C, D), biases (C,) and centre (D,) for rows (N, D); as good as GDA or better.

    min CE(g (W z + b), y) + g mean_c (|W_c - mu_c|^2 + (b_c + |mu_c|^2 / 2)^2) / K_c over whitened rows z (N, R).
    """
    whitener = fit_whitener(image, labels=labels, n_classes=n_classes, span=fit_span(image))
    z = whitener.apply(image)
    means = class_means(z.astype(np.float64), labels=labels, n_classes=n_classes)
    start = np.concatenate([means, -0.5 * (means**2).sum(axis=1, keepdims=True)], axis=1)  # (C, R + 1)
    rows = np.concatenate([z, np.ones((z.shape[0], 1), np.float32)], axis=1)
    hold = GAIN / np.maximum(np.bincount(labels, minlength=n_classes), 1)[:, None] / n_classes

    def objective(vector: Vector) -> tuple[float, Vector]:
        w = vector.reshape(start.shape)
        value, slope = cross_entropy(np.float32(GAIN) * (rows @ w.T.astype(np.float32)), labels=labels)
        off = w - start
        gradient = GAIN * (slope.T @ rows).astype(np.float64) + 2.0 * hold * off
        return value + float((hold * off**2).sum()), gradient.ravel()

    found = GAIN * minimise(objective, start=start.ravel(), max_iterations=MAX_ITERATIONS).reshape(start.shape)
    weights = (found[:, :-1].astype(np.float32) @ whitener.basis.T).astype(np.float32)
    return weights, found[:, -1].astype(np.float32), whitener.centre
