"""Inter-class deconfusion with parameters that all classes share: a class is a vector it is given, not a column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.heads.deconfusion.blocks import Block
from pipeline.heads.deconfusion.network import centred
from pipeline.heads.deconfusion.training import BATCH_SIZE, EPOCHS, LEARNING_RATE, MIN_STEPS, WEIGHT_DECAY
from pipeline.heads.optimise import AdamW, denormals_flushed
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

WIDTH = 128  # of image code and class code: .4 M parameters at 512 dimensions, whatever the number of classes
NORM_EPS = 1e-5  # torch's own


class SharedCorrection(nn.Module):
    """Delta_c = k_c^T W_out h(u): u an image's code, k_c a class's embedding, h a block (ICD of LDC, CVPR 2025).

    The published ICD reads and writes one value per class, so it grows with them and knows no class it was not trained
    on. W_out starts at zero: before the first step nothing is corrected.
    """

    def __init__(self, *, image_dim: int, class_dim: int) -> None:
        super().__init__()
        self.block = Block(image_dim, n_hidden=WIDTH, n_out=WIDTH, norm="layer")
        self.class_code = nn.Linear(class_dim, WIDTH, bias=False)
        nn.init.zeros_(self.class_code.weight)


@dataclass(frozen=True, eq=False)
class FrozenCorrection:
    """The fitted correction in NumPy; any thread may call it."""

    first: Float32Array  # (image_dim, WIDTH)
    norm_weight: Float32Array  # (WIDTH,)
    norm_bias: Float32Array  # (WIDTH,)
    second: Float32Array  # (WIDTH, WIDTH)
    class_code: Float32Array  # (class_dim, WIDTH)

    @property
    def n_parameters(self) -> int:
        """Trained values; the number of classes has no part in it."""
        return sum(a.size for a in (self.first, self.norm_weight, self.norm_bias, self.second, self.class_code))

    def image_codes(self, u: Float32Array) -> Float32Array:
        """(B, image_dim) -> (B, WIDTH)."""
        x = u @ self.first
        x -= x.mean(axis=1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float32(NORM_EPS))
        out: Float32Array = np.maximum(x * self.norm_weight + self.norm_bias, 0.0) @ self.second
        return out

    def class_codes(self, embeddings: Float32Array) -> Float32Array:
        """(C, class_dim) -> (C, WIDTH)."""
        out: Float32Array = embeddings @ self.class_code
        return out


@dataclass(frozen=True, eq=False)
class CorrectionRows:
    """What the correction is trained on; rows whose class has no other image are left out before."""

    codes: Float32Array  # (N, image_dim)
    prior: Float32Array  # (N, C), zero-shot or leave-one-out logits
    labels: Labels  # (N,)
    classes: Float32Array  # (C, class_dim)
    own: Float32Array  # (N, class_dim), the row's own class without the row


def fit_correction(rows: CorrectionRows, *, shots: float, seed: int) -> FrozenCorrection:
    """CE(s + Delta) + mean|Delta| / K on centred logits (LDC's similarity term, weaker the more there is to learn).

    Deterministic for a seed. Without rows the correction is zero.
    """
    with denormals_flushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SharedCorrection(image_dim=rows.codes.shape[1], class_dim=rows.classes.shape[1])
        if rows.labels.size:
            _train(network, rows=rows, shots=shots)
    norm = network.block.bn
    assert isinstance(norm, nn.LayerNorm)
    return FrozenCorrection(
        first=_array(network.block.linear1.weight.T),
        norm_weight=_array(norm.weight),
        norm_bias=_array(norm.bias),
        second=_array(network.block.linear2.weight.T),
        class_code=_array(network.class_code.weight.T),
    )


def _train(network: SharedCorrection, *, rows: CorrectionRows, shots: float) -> None:
    codes, prior, classes, own = (torch.from_numpy(a) for a in (rows.codes, rows.prior, rows.classes, rows.own))
    y, s = torch.from_numpy(rows.labels), centred(prior)
    spread = s.std().clamp_min(1e-6)  # Delta is learned in units of the prior's spread
    n = y.shape[0]
    n_steps = max(MIN_STEPS, EPOCHS * math.ceil(n / BATCH_SIZE))
    optimiser = AdamW(network.parameters(), learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, n_steps=n_steps)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(n_steps):
        if order.numel() == 0:
            order = torch.randperm(n)
        batch, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        h, target = network.block(codes[batch]), y[batch]
        mine = (h * network.class_code(own[batch])).sum(dim=1, keepdim=True)
        delta = (h @ network.class_code(classes).T).scatter(1, target[:, None], mine)
        delta = centred(delta) * spread
        fit = functional.cross_entropy(s[batch] + delta, target)
        optimiser.step(fit + delta.abs().mean() / max(1.0, shots))
    with torch.no_grad():
        network.class_code.weight *= spread


def _array(tensor: torch.Tensor) -> Float32Array:
    out: Float32Array = np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32).copy()
    out.flags.writeable = False
    return out
