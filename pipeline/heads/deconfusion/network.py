"""The trainable parts of the production deconfusion head, in float32 and safe for a batch of one."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn

from pipeline.heads.deconfusion.blocks import Block
from pipeline.heads.deconfusion.icd import Icd
from pipeline.heads.deconfusion.maf import PooledMaf

MAX_WIDTH = 256  # of the adapters: 1,000 classes stay below 2 M parameters


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """All that is needed to build the network before its tensors are loaded."""

    n_classes: int
    embedding_dim: int
    level_dims: tuple[int, ...]  # empty: the embedding is MAF's input
    image_rank: int  # whitened directions of the embedding
    level_rank: int  # of all levels together; 0 without levels

    @property
    def width(self) -> int:
        """Of MAF feature and ICD."""
        return min(MAX_WIDTH, max(32, self.embedding_dim))

    def to_json(self) -> dict[str, object]:
        """For the manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the experts say before fusion, each (B, C) and row-centred."""

    prior: torch.Tensor  # s
    correction: torch.Tensor  # ICD: r = s + correction
    maf: torch.Tensor  # m_0, the linear path, in units of its own
    maf_residual: torch.Tensor  # what the adapters add to it: m = m_0 + residual


def centred(x: torch.Tensor) -> torch.Tensor:
    """Row-centred logits: softmax ignores a common offset, the similarity terms and the ICD would not."""
    return x - x.mean(dim=1, keepdim=True)


class DeconfusionNetwork(nn.Module):
    """LDC (CVPR 2025, arXiv 2504.12104) in production form.

    Differences from the published network: LayerNorm for BatchNorm, zero-initialised last layers (step 0 is the prior
    and the closed-form MAF classifier), centred logits, pooled levels, and a linear path from whitened embedding and
    levels to MAF's logits that starts at the Gaussian classifier and is held there by 1/K.
    """

    image_centre: torch.Tensor  # (D,)
    image_basis: torch.Tensor  # (D, image_rank)
    level_mean: torch.Tensor  # (sum of level dims,)
    level_gain: torch.Tensor  # (sum of level dims,)
    level_basis: torch.Tensor  # (sum of level dims, level_rank)
    level_offset: torch.Tensor  # (level_rank,)
    linear_weight: torch.Tensor  # (C, image_rank + level_rank)
    linear_bias: torch.Tensor  # (C,)
    prior_gain: torch.Tensor  # (), brings s to unit spread for ICD

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        c, d, width = shape.n_classes, shape.embedding_dim, shape.width
        n_level = sum(shape.level_dims)
        self.register_buffer("image_centre", torch.zeros(d))
        self.register_buffer("image_basis", torch.zeros(d, shape.image_rank))
        self.register_buffer("level_mean", torch.zeros(n_level))
        self.register_buffer("level_gain", torch.ones(n_level))
        self.register_buffer("level_basis", torch.zeros(n_level, shape.level_rank))
        self.register_buffer("level_offset", torch.zeros(shape.level_rank))
        self.register_buffer("linear_weight", torch.zeros(c, shape.image_rank + shape.level_rank))
        self.register_buffer("linear_bias", torch.zeros(c))
        self.register_buffer("prior_gain", torch.ones(()))
        self.maf = PooledMaf(level_dims=shape.level_dims or (shape.image_rank,), embedding_dim=width)
        self.maf_classifier = Block(width, n_hidden=width, n_out=c, norm="layer", zero_last=True)
        self.icd = Icd(n_classes=c, embedding_dim=width, norm="layer", zero_last=True)

    def whitened(self, image: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """(B, D) and standardised (B, sum of level dims) -> (B, image_rank + level_rank)."""
        x = (image - self.image_centre) @ self.image_basis
        if not self.shape.level_dims:
            return x
        return torch.cat([x, levels @ self.level_basis - self.level_offset], dim=1)

    def forward(self, image: torch.Tensor, levels: torch.Tensor, prior: torch.Tensor) -> Parts:
        """Embedding (B, D), standardised levels (B, sum), prior logits (B, C) -> the experts' logits."""
        return self.experts(self.whitened(image, levels), levels=levels, prior=prior)

    def experts(self, x: torch.Tensor, *, levels: torch.Tensor, prior: torch.Tensor) -> Parts:
        """As `forward`, from whitened rows: nothing before them is trained."""
        dims = self.shape.level_dims
        inputs = torch.split(levels, list(dims), dim=1) if dims else (x,)
        feature = self.maf(inputs).feature
        linear = x @ self.linear_weight.T + self.linear_bias
        s = centred(prior)
        correction = self.icd(s * self.prior_gain, feature).correction / self.prior_gain
        return Parts(
            prior=s,
            correction=centred(correction),
            maf=centred(linear),
            maf_residual=centred(self.maf_classifier(feature)),
        )
