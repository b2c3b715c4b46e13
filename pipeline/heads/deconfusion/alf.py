"""Adaptive logits fusion (ALF): how much of the MAF expert and how much of the deconfused logits go into the answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.heads.deconfusion.blocks import Block
from pipeline.types import Float32Array

N_BETA_STEPS = 50  # beta = 0/50 .. 50/50, the published grid


class Gate(nn.Module):
    """alpha = sigmoid(g(e)), one number per image (LDC, CVPR 2025, arXiv 2504.12104)."""

    def __init__(self, *, embedding_dim: int, norm: str = "batch", zero_last: bool = False) -> None:
        super().__init__()
        self.block = Block(embedding_dim, n_hidden=embedding_dim, n_out=1, norm=norm, zero_last=zero_last)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, 1) in (0, 1)."""
        return torch.sigmoid(self.block(feature))


def beta_grid() -> npt.NDArray[np.float64]:
    """The 51 published values of beta, ascending."""
    return np.arange(N_BETA_STEPS + 1) / N_BETA_STEPS


def correct_by_beta(maf: Float32Array, *, icd: Float32Array, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many rows beta * maf + (1 - beta) * icd gets right at each beta; equal logits count for the lowest class."""
    m, r = maf.astype(np.float64), icd.astype(np.float64)
    counts = [int(((beta * m + (1.0 - beta) * r).argmax(axis=1) == labels).sum()) for beta in beta_grid()]
    return np.asarray(counts, dtype=np.int64)


def choose_beta(maf: Float32Array, *, icd: Float32Array, labels: npt.NDArray[np.int64]) -> float:
    """The beta with the most rows right; the smallest of equals. Hand it out-of-fold logits, never memorised ones.

    The published code searches it on the full labelled validation split (hundreds of labels per class).
    """
    return float(beta_grid()[int(correct_by_beta(maf, icd=icd, labels=labels).argmax())])
