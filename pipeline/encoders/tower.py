"""One forward pass from uint8 pixels to the unit embedding and the pooled levels, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import EncoderError
from pipeline.types import EncoderInfo, Features, UInt8Array

N_LEVELS = 4
_VIT_BLOCKS_FROM_END = (-7, -5, -3, -1)  # last-6, last-4, last-2, last: LDC (CVPR 2025), shallow to deep
_RESNET_STAGES = (1, 2, 3, 4)  # 0 is the stem


class Normalise(torch.nn.Module):
    """(B,S,S,3) uint8 -> (B,3,S,S) in channels-last memory: pixel * scale + bias in fp32, then the cast."""

    scale: Tensor
    bias: Tensor

    def __init__(self, *, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1.0 / (255.0 * deviation)).float(), persistent=False)
        self.register_buffer("bias", (-torch.tensor(mean, dtype=torch.float64) / deviation).float(), persistent=False)
        self.dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.addcmul(self.bias, pixels.float(), self.scale).to(self.dtype).permute(0, 3, 1, 2)


class ImageTower(torch.nn.Module):
    """open_clip's `visual` between uint8 pixels and fp32 results.

    Levels, shallow to deep, from the same forward pass: a VisionTransformer gives (B, 2W) per block, mean over the
    patch tokens then the class token, each after a LayerNorm without parameters; a ModifiedResNet gives (B, 2C) per
    stage, global average then global maximum. Any other tower, and a transformer of fewer than 7 blocks, gives none.
    """

    def __init__(
        self, visual: torch.nn.Module, *, mean: Sequence[float], std: Sequence[float], n_levels: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        if n_levels not in (0, N_LEVELS):
            raise EncoderError(f"n_levels must be 0 or {N_LEVELS}, got {n_levels}")
        self.visual = visual.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.normalise = Normalise(mean=mean, std=std, dtype=dtype)
        self.kind = tower_kind(visual)
        self.n_levels = n_levels if self.kind else 0

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B,S,S,3) uint8 -> (B,D) unit rows, then the levels."""
        inputs = self.normalise(pixels)
        if self.n_levels == 0:
            output = self.visual(inputs)
            return (_unit(output[0] if isinstance(output, tuple) else output),)  # CoCa's tower adds its tokens
        output = self._intermediates(inputs)
        pool = _pool_tokens if self.kind == "vit" else _pool_maps
        maps = zip(output["image_intermediates"], output.get("image_intermediates_prefix", [None] * 4), strict=True)
        return (_unit(output["image_features"]), *(pool(level, prefix) for level, prefix in maps))

    def tokens(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The levels before pooling: (B,T,W) with the class token first, or (B,C,H,W) for a ModifiedResNet."""
        if not self.kind:
            raise EncoderError(
                "levels need a VisionTransformer of 7 blocks or more, or a ModifiedResNet; this tower is neither"
            )
        output = self._intermediates(self.normalise(pixels))
        if self.kind == "resnet":
            return tuple(level.float() for level in output["image_intermediates"])
        pairs = zip(output["image_intermediates_prefix"], output["image_intermediates"], strict=True)
        return tuple(torch.cat(pair, dim=1).float() for pair in pairs)

    def _intermediates(self, inputs: Tensor) -> dict[str, Any]:
        if self.kind == "resnet":
            result = self.visual.forward_intermediates(inputs, indices=list(_RESNET_STAGES))
        else:
            result = self.visual.forward_intermediates(
                inputs, indices=list(_VIT_BLOCKS_FROM_END), output_fmt="NLC", output_extra_tokens=True
            )
        return dict(result)


def tower_kind(visual: torch.nn.Module) -> str:
    """vit, resnet, or empty where no levels are to be had."""
    name = type(visual).__name__
    if name == "ModifiedResNet":
        return "resnet"
    if name == "VisionTransformer" and len(visual.transformer.resblocks) >= -_VIT_BLOCKS_FROM_END[0]:  # type: ignore[union-attr,arg-type]
        return "vit"
    return ""


def to_features(outputs: Sequence[Tensor]) -> Features:
    """Results of a tower as host arrays that nothing else writes to."""
    first, *levels = (np.ascontiguousarray(output.cpu().numpy()) for output in outputs)
    return Features(image=first, levels=tuple(levels))


def check_pixels(pixels: UInt8Array, *, info: EncoderInfo) -> None:
    """Raise EncoderError unless `pixels` is a batch that this encoder takes."""
    side = info.image_size
    if pixels.ndim != 4 or pixels.shape[0] == 0 or pixels.shape[1:] != (side, side, 3) or pixels.dtype != np.uint8:
        raise EncoderError(f"{info.name}: pixels must be (B,{side},{side},3) uint8, got {pixels.shape} {pixels.dtype}")


def _unit(embedding: Tensor) -> Tensor:
    return torch.nn.functional.normalize(embedding.float(), dim=-1)


def _pool_tokens(patches: Tensor, class_token: Tensor) -> Tensor:
    mean, token = patches.float().mean(dim=1), class_token.float()[:, 0]  # (B,W) each
    width = (mean.shape[-1],)
    return torch.cat([torch.nn.functional.layer_norm(half, width) for half in (mean, token)], dim=-1)


def _pool_maps(maps: Tensor, _: Tensor | None) -> Tensor:
    values = maps.float()  # (B,C,H,W)
    return torch.cat([values.mean(dim=(2, 3)), values.amax(dim=(2, 3))], dim=-1)
