"""The fitted network in NumPy: the same numbers as the torch modules at a third of their cost for one image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline.heads.deconfusion.blocks import Block
from pipeline.heads.deconfusion.fusion import ExpertLogits
from pipeline.heads.deconfusion.maf import TokenLevel
from pipeline.heads.deconfusion.network import DeconfusionNetwork
from pipeline.types import Float32Array


class _Norm(NamedTuple):
    weight: Float32Array
    bias: Float32Array
    eps: np.float32

    def relu(self, x: Float32Array) -> Float32Array:
        """ReLU(LN(x)), row by row; works in place on `x`."""
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[1])
        x /= np.sqrt(variance + self.eps)
        x *= self.weight
        x += self.bias
        return np.maximum(x, 0.0, out=x)


class _Layer(NamedTuple):
    """Linear, LayerNorm, ReLU and, in a block, Linear again."""

    first: Float32Array  # (n_in, n_hidden)
    norm: _Norm
    last: Float32Array | None = None  # (n_hidden, n_out)

    def __call__(self, x: Float32Array) -> Float32Array:
        hidden = self.norm.relu(x @ self.first)
        return hidden if self.last is None else hidden @ self.last


class FrozenNetwork:
    """Immutable copy of a fitted `DeconfusionNetwork`; any thread may call it."""

    def __init__(self, network: DeconfusionNetwork) -> None:
        self._dims = network.shape.level_dims
        self._image_centre, self._image_basis = _array(network.image_centre), _array(network.image_basis)
        self._level_mean, self._level_gain = _array(network.level_mean), _array(network.level_gain)
        self._level_basis, self._level_offset = _array(network.level_basis), _array(network.level_offset)
        self._weight, self._bias = _array(network.linear_weight.T), _array(network.linear_bias)
        self._gain = np.float32(network.prior_gain.item())
        self._fuse = tuple(np.float32(w) for w in network.maf.weights)
        self._adapters = tuple(_adapter(level) for level in network.maf.levels)
        self._classifier = _block(network.maf_classifier)
        self._a1, self._a2, self._a3 = (_block(b) for b in (network.icd.a1, network.icd.a2, network.icd.a3))

    def standardised(self, levels: tuple[Float32Array, ...], *, n: int) -> Float32Array:
        """The levels joined, each value by its mean and spread in the support set; (n, 0) without levels."""
        if not self._dims:
            return np.zeros((n, 0), np.float32)
        return (np.concatenate(levels, axis=1) - self._level_mean) * self._level_gain

    def experts(
        self,
        image: Float32Array,
        *,
        levels: Float32Array,
        prior: Float32Array,
        correction: bool = True,
        residual: bool = True,
    ) -> ExpertLogits:
        """(B, D), standardised (B, sum of level dims), (B, C) -> the experts' logits.

        What fusion gives no weight need not be computed: without `correction` or `residual` that part is zero.
        """
        x, s = self._whitened(image, levels=levels), _centred(prior)
        nothing = np.zeros_like(s)
        feature = self._feature(x, levels=levels) if correction or residual else None
        return ExpertLogits(
            prior=s,
            correction=nothing if feature is None or not correction else self._correction(s, feature=feature),
            maf=_centred(x @ self._weight + self._bias),
            maf_residual=nothing if feature is None or not residual else _centred(self._classifier(feature)),
        )

    def _whitened(self, image: Float32Array, *, levels: Float32Array) -> Float32Array:
        x = ((image - self._image_centre) @ self._image_basis).astype(np.float32, copy=False)
        if not self._dims:
            return x
        return np.concatenate([x, levels @ self._level_basis - self._level_offset], axis=1, dtype=np.float32)

    def _feature(self, x: Float32Array, *, levels: Float32Array) -> Float32Array:
        inputs = np.split(levels, np.cumsum(self._dims)[:-1], axis=1) if self._dims else [x]
        parts = (w * adapter(a) for w, adapter, a in zip(self._fuse, self._adapters, inputs, strict=True))
        total = next(parts)
        for part in parts:
            total += part
        return total

    def _correction(self, s: Float32Array, *, feature: Float32Array) -> Float32Array:
        return _centred(self._a3(self._a1(s * self._gain) + self._a2(feature)) / self._gain)


def _centred(x: Float32Array) -> Float32Array:
    out: Float32Array = x - x.mean(axis=1, keepdims=True)
    return out


def _array(tensor: torch.Tensor) -> Float32Array:
    out: Float32Array = np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32).copy()
    out.flags.writeable = False
    return out


def _norm(module: nn.Module) -> _Norm:
    assert isinstance(module, nn.LayerNorm), "the production network has no BatchNorm"
    return _Norm(_array(module.weight), _array(module.bias), np.float32(module.eps))


def _block(block: Block) -> _Layer:
    return _Layer(_array(block.linear1.weight.T), _norm(block.bn), _array(block.linear2.weight.T))


def _adapter(level: nn.Module) -> _Layer:
    assert isinstance(level, TokenLevel)
    return _Layer(_array(level.linear.weight.T), _norm(level.layernorm))
