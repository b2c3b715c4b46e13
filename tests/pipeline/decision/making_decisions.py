"""Parts whose probabilities are honest by construction, so that what a limit promises can be counted."""

from __future__ import annotations

import numpy as np

from pipeline.decision import CostMatrix
from pipeline.decision.probabilities import Array, Labels
from pipeline.types import Float32Array

CLASSES = ("ok", "scratch", "dent")


def money(*, classes: tuple[str, ...] = CLASSES, escape: float = 10.0, review: float = 0.2) -> CostMatrix:
    return CostMatrix.build(classes, good_classes={"ok"}, escape=escape, overkill=1.0, mix_up=1.0, review=review)


def draw_labels(n: int, *, mix: Array, rng: np.random.Generator) -> Labels:
    return rng.choice(mix.size, size=n, p=mix).astype(np.int64)


def calibrated(labels: Labels, *, mix: Array, spread: float, rng: np.random.Generator) -> Float32Array:
    """(M, C) posterior under `mix` of a point at the class's corner plus noise: Bayes' own probabilities."""
    x = np.eye(mix.size)[labels] + spread * rng.normal(size=(labels.size, mix.size))
    log_p = x / spread**2 + np.log(mix)
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    out: Float32Array = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return out
