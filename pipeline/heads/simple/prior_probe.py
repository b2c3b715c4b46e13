"""A linear probe that starts at the prior (texts, or leave-one-out image prototypes) and is held there by 1/K."""

from __future__ import annotations

import numpy as np

from pipeline.heads.lbfgs import Vector, cross_entropy, minimise
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

MAX_ITERATIONS = 60


def fit_prior_probe(
    features: Features, *, labels: Labels, groups: Labels, classes: tuple[str, ...], text: ZeroShotHead | None = None
) -> AffineHead:
    """min_W mean_i CE(s X W^T, y) + s mean_c |W_c - w_c|^2 / K_c with W starting at the prior vectors w.

    lambda = 1/K_c per class is ProLIP's rule (Fahes et al., 2025), the anchored probe CLAP's (Silva-Rodriguez et al.,
    CVPR 2024). s is the prior's scale. Where a class has no text its prior is its image prototype, which leaves the
    row itself out of the sum, so that the probe never sees a prior that contains the query; x is then centred.
    """
    image = features.image
    prior, base = fit_prior(image, labels=labels, groups=groups, classes=classes, text=text)
    centre = np.zeros(image.shape[1], np.float32) if isinstance(prior, ZeroShotHead) else prior.centre
    x = unit_rows(image - centre)
    delta = _minimise(x, base=base, labels=labels, scale=float(prior.scale))
    return AffineHead(
        kind="probe",
        prior=prior,
        prior_weight=1.0,
        centre=centre,
        unit=True,
        weights=(np.float32(prior.scale) * delta).astype(np.float32),
        bias=np.zeros(len(classes), np.float32),
    )


def _minimise(x: Float32Array, *, base: Float32Array, labels: Labels, scale: float) -> Float32Array:
    """Delta (C, D) = W - w."""
    n_classes, dim = base.shape[1], x.shape[1]
    hold = scale / np.maximum(np.bincount(labels, minlength=n_classes), 1)[:, None] / n_classes  # (C, 1)

    def objective(vector: Vector) -> tuple[float, Vector]:
        delta = vector.reshape(n_classes, dim)
        value, slope = cross_entropy(base + np.float32(scale) * (x @ delta.T.astype(np.float32)), labels=labels)
        gradient = scale * (slope.T @ x).astype(np.float64) + 2.0 * hold * delta
        return value + float((hold * delta**2).sum()), gradient.ravel()

    found = minimise(objective, start=np.zeros(n_classes * dim), max_iterations=MAX_ITERATIONS)
    return found.reshape(n_classes, dim).astype(np.float32)
