"""CODER-Adapter: few-shot without training, support images compared in the space of their texts.

Yi et al., CVPR 2024, section 3.4: Tip-Adapter's cache (Zhang et al., ECCV 2022) with the metric G = T'T.
"""

from __future__ import annotations

import numpy as np

from pipeline.heads.coder.coding import FloatArray, code, unit
from pipeline.heads.whitening import Labels


def mean_views(views: FloatArray, *, unit_views: bool = False) -> FloatArray:
    """(V, n, D) augmented views -> (n, D) unit keys. Published: views averaged raw, so that long ones weigh more."""
    return unit((unit(views) if unit_views else views).mean(axis=0))


def mean_prompts(prompts: FloatArray) -> FloatArray:
    """(C, prompts, D) -> (C, D) unit class texts of the base logits, in the precision they come in."""
    return unit(unit(prompts).mean(axis=1))


def unit_code(image: FloatArray, *, bank: FloatArray) -> FloatArray:
    """(B, D) images -> (B, M) codes at length one; a folded bank gives the same inner products."""
    return unit(code(image, bank=bank))


def affinities(codes: FloatArray, *, key_codes: FloatArray) -> FloatArray:
    """(B, M) and (n, M) unit codes -> (B, n) cosines between codes."""
    out: FloatArray = codes @ key_codes.T
    return out


def row_min_max(affinity: FloatArray) -> FloatArray:
    """Published: each row stretched to 0..1, so that the nearest support image always counts in full.

    A row of equal affinities becomes ones (the published code divides 0 by 0).
    """
    low, high = affinity.min(axis=1, keepdims=True), affinity.max(axis=1, keepdims=True)
    flat = high == low
    stretched: FloatArray = (affinity - low) / np.where(flat, 1, high - low).astype(affinity.dtype)
    return np.where(flat, affinity.dtype.type(1), stretched)


def cache_logits(affinity: FloatArray, *, key_class: Labels, n_classes: int, beta: float) -> FloatArray:
    """sum_i exp(-beta (1 - a_i)) onehot(y_i): (B, n) -> (B, C)."""
    kernel = np.exp(-affinity.dtype.type(beta) * (1 - affinity))
    order = np.argsort(key_class, kind="stable")
    present, starts = np.unique(key_class[order], return_index=True)
    out = np.zeros((len(affinity), n_classes), dtype=affinity.dtype)
    out[:, present] = np.add.reduceat(kernel[:, order], starts, axis=1)
    return out


def adapter_logits(
    base: FloatArray, *, affinity: FloatArray, key_class: Labels, alpha: float, beta: float
) -> FloatArray:
    """base + alpha * cache: (B, C)."""
    cache = cache_logits(affinity, key_class=key_class, n_classes=base.shape[1], beta=beta)
    return base + base.dtype.type(alpha) * cache
