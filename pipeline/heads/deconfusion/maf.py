"""Multi-level adapter fusion (MAF): what intermediate layers of the frozen tower saw, as one feature.

LDC, CVPR 2025, arXiv 2504.12104. Token-exact for ViT tokens and for CLIP's ResNet stage maps, and pooled, where
only the means over tokens are kept so that no image is encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

PUBLISHED_FUSE_WEIGHTS = (0.1, 0.2, 0.3, 0.4)  # from the shallowest level to the deepest, fixed ("fuse type 2")
PUBLISHED_POOL_SIZES = (8, 4, 2, 1)  # ResNet stages 1 to 4 meet at the size of the last


@dataclass(frozen=True, slots=True)
class MafFeature:
    """The fused feature and its parts."""

    feature: torch.Tensor  # (B, D), not normalised
    pooled: tuple[torch.Tensor, ...]  # per level: (B, W) for tokens, (B, W, h, w) for maps


def fuse_weights(n_levels: int) -> tuple[float, ...]:
    """Fixed weights that grow linearly with depth and sum to one; the published .1 .2 .3 .4 for four levels."""
    total = n_levels * (n_levels + 1) / 2
    return tuple((i + 1) / total for i in range(n_levels))


def weighted_sum(parts: Sequence[torch.Tensor], *, weights: Sequence[float]) -> torch.Tensor:
    """Sum of `weights[l] * parts[l]` over the levels."""
    total = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        total = total + weight * part
    return total


class TokenLevel(nn.Module):
    """One ViT adapter: Linear without bias, LayerNorm, ReLU; the mean over tokens follows outside."""

    def __init__(self, n_in: int, *, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out, bias=False)
        self.layernorm = nn.LayerNorm(n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., n_in) -> (..., n_out)."""
        return torch.relu(self.layernorm(self.linear(x)))


class TokenMaf(nn.Module):
    """Token-exact MAF of a ViT: mean over all tokens, class token included, of ReLU(LN(x A^T)); frozen projection."""

    projection: torch.Tensor

    def __init__(self, *, width: int, projection: torch.Tensor, n_levels: int = 4) -> None:
        super().__init__()
        self.levels = nn.ModuleList(TokenLevel(width, n_out=width) for _ in range(n_levels))
        self.weights = fuse_weights(n_levels)
        self.register_buffer("projection", projection)  # (W, D)

    def forward(self, levels: Sequence[torch.Tensor]) -> MafFeature:
        """L tensors (B, T, W), shallow to deep -> feature (B, D)."""
        pooled = tuple(level(x).mean(dim=1) for level, x in zip(self.levels, levels, strict=True))
        return MafFeature(feature=weighted_sum(pooled, weights=self.weights) @ self.projection, pooled=pooled)


class AttentionPool(nn.Module):
    """CLIP's ResNet attention pool: the mean token is the only query over all tokens (Radford et al., 2021). Frozen."""

    def __init__(self, *, n_tokens: int, width: int, n_heads: int, n_out: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.position = nn.Parameter(torch.zeros(n_tokens, width), requires_grad=False)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, n_out)
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, W, h, w) -> (B, D)."""
        tokens = x.flatten(2).transpose(1, 2)  # (B, h*w, W), row by row
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.position
        query, key, value = (self._split(x) for x in (self.query(tokens[:, :1]), self.key(tokens), self.value(tokens)))
        attended = functional.scaled_dot_product_attention(query, key, value)  # (B, heads, 1, W/heads)
        out: torch.Tensor = self.output(attended.transpose(1, 2).flatten(2).squeeze(1))
        return out

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        n_rows, n_tokens, width = x.shape
        return x.reshape(n_rows, n_tokens, self.n_heads, width // self.n_heads).transpose(
            1, 2
        )  # (B, heads, T, W/heads)


class MapLevel(nn.Module):
    """One ResNet adapter: 1x1 convolution without bias, BatchNorm, ReLU, then a non-overlapping average pool."""

    def __init__(self, n_in: int, *, n_out: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(n_out)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, n_in, H, W) -> (B, n_out, H/pool, W/pool)."""
        return functional.avg_pool2d(torch.relu(self.bn(self.conv(x))), self.pool)


class StageMapMaf(nn.Module):
    """Token-exact MAF of CLIP's ResNet: stage maps to one map, through the tower's own frozen attention pool."""

    def __init__(
        self,
        *,
        channels: Sequence[int],
        attention_pool: AttentionPool,
        pool_sizes: Sequence[int] = PUBLISHED_POOL_SIZES,
    ) -> None:
        super().__init__()
        n_out = attention_pool.position.shape[1]
        self.levels = nn.ModuleList(
            MapLevel(n_in, n_out=n_out, pool=pool) for n_in, pool in zip(channels, pool_sizes, strict=True)
        )
        self.weights = fuse_weights(len(channels))
        self.attention_pool = attention_pool

    def forward(self, levels: Sequence[torch.Tensor]) -> MafFeature:
        """L maps (B, channels, H, W), shallow to deep -> feature (B, D)."""
        pooled = tuple(level(x) for level, x in zip(self.levels, levels, strict=True))
        return MafFeature(feature=self.attention_pool(weighted_sum(pooled, weights=self.weights)), pooled=pooled)


class PooledMaf(nn.Module):
    """MAF on pooled levels: ReLU(LN(x A^T)) of the mean instead of the mean of it; not equal to the token-exact form.

    It keeps the linear part of what the tokens say and costs one product per level instead of one per token, so a head
    is fitted from cached features. Levels of any width are mapped straight to D, hence no frozen projection.
    """

    def __init__(self, *, level_dims: Sequence[int], embedding_dim: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(TokenLevel(n_in, n_out=embedding_dim) for n_in in level_dims)
        self.weights = fuse_weights(len(level_dims))

    def forward(self, levels: Sequence[torch.Tensor]) -> MafFeature:
        """L tensors (B, level_dims[l]), shallow to deep -> feature (B, D)."""
        pooled = tuple(level(x) for level, x in zip(self.levels, levels, strict=True))
        return MafFeature(feature=weighted_sum(pooled, weights=self.weights), pooled=pooled)
