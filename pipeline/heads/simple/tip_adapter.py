"""Tip-Adapter, training-free: a cache of support images votes beside the texts. A baseline, not a default."""

from __future__ import annotations

import numpy as np

from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.affine import one_hot
from pipeline.heads.simple.kernel_heads import KernelHead
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features

ALPHA = 1.0  # the published start values, not searched: searching them is what the paper's validation set is for
BETA = 5.5


def fit_tip_adapter(
    features: Features, *, labels: Labels, groups: Labels, classes: tuple[str, ...], text: ZeroShotHead | None = None
) -> KernelHead:
    """logits = 100 x W^T + alpha exp(-beta (1 - x X^T)) Y (Zhang et al., ECCV 2022, eq. 3-5).

    Without texts the cache votes alone. X (N, D) unit support rows, Y their one-hot labels.
    """
    prior, _ = fit_prior(features.image, labels=labels, groups=groups, classes=classes, text=text)
    return KernelHead(
        kind="tip",
        prior=prior,
        centre=np.zeros(features.image.shape[1], np.float32),
        support=unit_rows(features.image),
        coefficients=(ALPHA * one_hot(labels, n_classes=len(classes))).astype(np.float32),
        beta=BETA,
        prior_weight=0.0 if text is None else 1.0,
    )
