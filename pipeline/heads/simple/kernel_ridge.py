"""Kernel ridge on the residual of the prior (ProKeR's form): the best head found where classes are not Gaussian."""

from __future__ import annotations

import numpy as np

from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.affine import AffineHead, one_hot
from pipeline.heads.simple.kernel_heads import KernelHead, kernel
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

BETA = 1.0  # .5 to 2 are within half a point on three CLIP sets and two sets of weak features
RIDGE = 0.05  # .01 to .1 give the same
LINEAR_RIDGE = 0.3  # of the linear kernel; .03 loses up to six points on fine-grained classes
GAIN = 20.0  # logit units per unit of the one-hot target: near honest probabilities before any temperature
MAX_SUPPORT = 2_000  # rows; beyond, the kernel is linear, so that memory and inference do not grow with the rows


def fit_kernel_ridge(
    features: Features, *, labels: Labels, groups: Labels, classes: tuple[str, ...], text: ZeroShotHead | None = None
) -> KernelHead | AffineHead:
    """f(x) = s(x) + k(x, X) (K + lambda I)^-1 (Y - s(X)), k = exp(-beta (1 - cosine)) (ProKeR, 2025, eq. 7).

    s are the texts' logits over GAIN, or zero without texts; rows are centred on their mean. More than 2,000 support
    rows: the linear kernel, solved in the embedding's own dimension.
    """
    image = features.image
    prior, base = fit_prior(image, labels=labels, groups=groups, classes=classes, text=text)
    weight = 0.0 if text is None else 1.0
    centre = image.mean(axis=0, dtype=np.float64).astype(np.float32)
    x = unit_rows(image - centre)
    target = GAIN * one_hot(labels, n_classes=len(classes))  # (N, C)
    residual = target - target.mean(axis=1, keepdims=True)
    if weight:
        residual = residual - weight * (base - base.mean(axis=1, keepdims=True))
    if labels.size > MAX_SUPPORT:
        return AffineHead(
            kind="kernel_ridge",
            prior=prior,
            prior_weight=weight,
            centre=centre,
            unit=True,
            weights=_linear_weights(x, residual=residual),
            bias=np.zeros(len(classes), np.float32),
        )
    gram = kernel(x, support=x, beta=BETA).astype(np.float64) + RIDGE * np.eye(labels.size)
    coefficients = np.linalg.solve(gram, residual).astype(np.float32)
    return KernelHead(
        kind="kernel_ridge",
        prior=prior,
        centre=centre,
        support=x,
        coefficients=coefficients,
        beta=BETA,
        prior_weight=weight,
    )


def _linear_weights(x: Float32Array, *, residual: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Float32Array:
    """(C, D) of the linear kernel's ridge: (X^T X + lambda I)^-1 X^T R."""
    rows = x.astype(np.float64)
    normal = rows.T @ rows + LINEAR_RIDGE * np.eye(rows.shape[1])
    out: Float32Array = np.linalg.solve(normal, rows.T @ residual).T.astype(np.float32)
    return out
