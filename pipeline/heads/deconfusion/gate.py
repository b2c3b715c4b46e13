"""A gate per image instead of one beta: how far to trust MAF, learned from out-of-fold evidence only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pipeline.heads.calibration import log_softmax
from pipeline.heads.optimise import lbfgs
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

N_EVIDENCE = 5
MAX_ITERATIONS = 50
HOLD = 0.02  # pull of the weights towards the single beta; a few dozen images cannot learn more than a tendency


@dataclass(frozen=True, eq=False)
class EvidenceGate:
    """alpha = sigmoid(w . evidence + b), the ALF of LDC (CVPR 2025) on five numbers that do not memorise images.

    The published gate reads the MAF feature of the very images its experts were trained on; this one reads how sure
    each expert is, and is fitted on images that neither expert has seen.
    """

    weight: Float32Array  # (5,)
    bias: float

    def alpha(self, *, r: Float32Array, m: Float32Array) -> Float32Array:
        """(n, C) deconfused and scaled MAF logits -> (n, 1)."""
        out: Float32Array = 1.0 / (1.0 + np.exp(-(evidence(r, m=m) @ self.weight + np.float32(self.bias))))
        return out[:, None].astype(np.float32)


def evidence(r: Float32Array, *, m: Float32Array) -> Float32Array:
    """(n, 5): top log-probability and top-two gap of each expert, and whether they agree."""
    columns = []
    for logits in (r, m):
        top = np.sort(np.partition(log_softmax(logits), -2, axis=1)[:, -2:], axis=1)
        columns += [top[:, 1], np.minimum(top[:, 1] - top[:, 0], 10.0) / 10.0]
    columns.append((r.argmax(axis=1) == m.argmax(axis=1)).astype(np.float32))
    return np.stack(columns, axis=1).astype(np.float32)


def fit_gate(r: Float32Array, *, m: Float32Array, labels: Labels, beta: float) -> EvidenceGate:
    """Ridge-held to the constant `beta`, by L-BFGS on the out-of-fold likelihood of the blend."""
    start = math.log(min(max(beta, 0.02), 0.98) / (1.0 - min(max(beta, 0.02), 0.98)))
    x, y = torch.from_numpy(evidence(r, m=m)), torch.from_numpy(labels)
    experts_r, experts_m = torch.from_numpy(r), torch.from_numpy(m)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        w, b = flat[:N_EVIDENCE], flat[N_EVIDENCE]
        alpha = torch.sigmoid(x @ w + b)[:, None]
        fit = functional.cross_entropy(alpha * experts_m + (1 - alpha) * experts_r, y)
        return fit + HOLD * ((w**2).sum() + (b - start) ** 2)

    best = lbfgs(loss, start=torch.tensor([0.0] * N_EVIDENCE + [start]), max_iterations=MAX_ITERATIONS)
    return EvidenceGate(weight=best[:N_EVIDENCE].numpy().copy(), bias=float(best[N_EVIDENCE]))
