"""Gaussian discriminant analysis with a shared covariance: closed form, strong from four shots on."""

from __future__ import annotations

import numpy as np

from pipeline.heads.folds import make_folds
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.affine import AffineHead, Array, centred_rows, joined_levels
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import TINY, Labels, class_means, fit_span, within_covariance
from pipeline.types import Features, Float32Array

SHOTS_DIVISOR = 4.0  # weight sqrt(K) / 4 of standardised GDA logits beside the texts: no search, near the best weight
MAX_RANK = 1024  # directions of the joined levels that are kept; the embedding keeps all of its own


def fit_gda(
    features: Features,
    *,
    labels: Labels,
    groups: Labels,
    classes: tuple[str, ...],
    text: ZeroShotHead | None = None,
    log_prior: Float32Array | None = None,
    seed: int = 0,
) -> AffineHead:
    """w_c = P mu_c, b_c = log pi_c - mu_c^T P mu_c / 2 on embedding and levels (Wang et al., ICLR 2024, eq. 5-8).

    P = D ((n - 1) S + tr(S) I)^-1 is the Kubokawa-Srivastava ridge (2008). Embedding and levels count alike; beside
    texts their sum has weight sqrt(K) / 4 in units of the texts' spread. `log_prior` (C,) defaults to equal classes.
    """
    n_classes, image = len(classes), features.image
    prior, base = fit_prior(image, labels=labels, groups=groups, classes=classes, text=text)
    shots = float(np.median(np.bincount(labels, minlength=n_classes)))
    has_levels = bool(features.levels)
    weight = 1.0 if text is None else float(np.sqrt(shots)) / SHOTS_DIVISOR * spread(base)
    parts = [image, joined_levels(features.levels)] if has_levels else [image]
    fitted = []
    for x in parts:
        w, b = discriminant(x, labels=labels, n_classes=n_classes)
        size = 1.0
        if text is not None or has_levels:
            held_out = out_of_fold(x, labels=labels, groups=groups, n_classes=n_classes, seed=seed)
            size = spread(held_out) * len(parts)
        fitted.append((w * (weight / size), b * (weight / size)))
    bias = np.sum([b for _, b in fitted], axis=0)
    return AffineHead(
        kind="gda",
        prior=prior,
        prior_weight=0.0 if text is None else 1.0,
        centre=np.zeros(image.shape[1], np.float32),
        weights=fitted[0][0].astype(np.float32),
        bias=(bias if log_prior is None else bias + log_prior).astype(np.float32),
        level_weights=fitted[1][0].astype(np.float32) if has_levels else None,
        level_dims=tuple(level.shape[1] for level in features.levels),
    )


def spread(logits: Float32Array) -> float:
    """Standard deviation of row-centred logits, never zero."""
    return max(float(centred_rows(logits).std(dtype=np.float64)), TINY)


def discriminant(x: Float32Array, *, labels: Labels, n_classes: int) -> tuple[Array, Array]:
    """Weights (C, D) and biases (C,) of the closed form on rows (N, D); solved inside the span of the rows."""
    dim = x.shape[1]
    span = fit_span(x, max_rank=min(dim, MAX_RANK))
    z = (x.astype(np.float64) - span.centre) @ span.directions  # (N, R)
    covariance = within_covariance(z, labels=labels, n_classes=n_classes)
    trace = max(float(np.trace(covariance)), TINY)
    n = max(2, labels.size)
    ridged = ((n - 1) * covariance + trace * np.eye(covariance.shape[0])) / dim
    means = class_means(z, labels=labels, n_classes=n_classes)
    w = np.linalg.solve(ridged, means.T).T  # (C, R)
    bias = -0.5 * (w * means).sum(axis=1)
    full: Array = w @ span.directions.T
    offset: Array = bias - full @ span.centre
    return full, offset


def out_of_fold(x: Float32Array, *, labels: Labels, groups: Labels, n_classes: int, seed: int) -> Float32Array:
    """Logits (M, C) of the rows that can be held out; of the fitted rows themselves where none can."""
    folds = make_folds(labels, groups=groups, n_classes=n_classes, seed=seed)
    found = []
    for fold in range(folds.n_folds):
        kept, held = folds.kept(fold), folds.held_out(fold)
        w, b = discriminant(x[kept], labels=labels[kept], n_classes=n_classes)
        found.append(x[held] @ w.T + b)
    if not found:
        w, b = discriminant(x, labels=labels, n_classes=n_classes)
        found.append(x @ w.T + b)
    out: Float32Array = np.concatenate(found).astype(np.float32)
    return out
