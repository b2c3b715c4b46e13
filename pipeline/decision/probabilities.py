"""Logits to probabilities, and what share of parts each class is: both are needed before and while a line runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError
from pipeline.types import Float32Array

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SUM_TOLERANCE = 0.02  # shares typed by a person: 0.33 three times is meant to be one


def softmax(logits: Float32Array) -> Float32Array:
    """Row-wise, stable. (n, C) -> (n, C)"""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Float32Array = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def class_mix(classes: Sequence[str], *, labels: Labels, stated: Mapping[str, float] | None = None) -> Array:
    """(C,) shares that sum to one: as stated for every class, else as counted in the labels.

    Support sets are balanced and lines are not: without the line's own mix, what is expected per 1,000 parts holds
    for parts drawn like the support set. Raises ConfigError.
    """
    if stated is None:
        counted = np.bincount(labels, minlength=len(classes)).astype(np.float64)
        shares: Array = counted / max(float(counted.sum()), 1.0)
        return shares
    given = np.array([stated.get(name, -1.0) for name in classes], np.float64)
    total = float(given.sum())
    if set(stated) != set(classes) or not (given >= 0).all() or not abs(total - 1.0) <= SUM_TOLERANCE:
        raise ConfigError(
            f"line mix: expected one share per class ({', '.join(classes)}), 0 or more, together 1, "
            f"got {dict(stated)}; state all of them, as fractions of the parts that pass"
        )
    out: Array = given / total
    return out


def row_weights(labels: Labels, *, mix: Array) -> Array:
    """(M,) weights that turn rows of any mix into rows of `mix`; mean 1 where every class of the mix was seen."""
    counts = np.bincount(labels, minlength=mix.size)
    each = np.divide(mix * labels.size, counts, out=np.zeros(mix.size), where=counts > 0)
    out: Array = each[labels]
    return out


def line_ratio(classes: Sequence[str], *, labels: Labels, mix: Array) -> Mapping[str, float]:
    """How much more often each class passes on the line than among the labels; 1 where there is no label.

    Probabilities calibrated on balanced labels call a line of good parts doubtful. Times this ratio, and normalised,
    they hold for the line (Saerens, Latinne & Decaestecker, 2002, eq. 2.4, with known shares).
    """
    counted = np.bincount(labels, minlength=len(classes)) / max(labels.size, 1)
    ratio = np.divide(mix, counted, out=np.ones(mix.size), where=counted > 0)
    return dict(zip(classes, ratio.tolist(), strict=True))
