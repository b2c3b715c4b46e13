"""Region crop and resize of one picture, in the capture thread, so that only S x S pixels travel on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from pipeline.errors import BadFrame, ConfigError
from pipeline.types import EncoderInfo, Roi, UInt8Array

# A cut edge may lie this far, in output pixels, beside the exact grid: a step of 255 then moves by 0.3 grey levels.
_MAX_PHASE_ERROR = 0.001
_BICUBIC_REACH = 2  # pixels to either side: output pixels when shrinking, input pixels when enlarging


@dataclass(frozen=True, slots=True)
class _Window:
    """One axis: read [start, stop) of the input, resize that to `size`, keep `side` from `offset`."""

    start: int
    stop: int
    size: int
    offset: int


def _window(n_in: int, *, n_out: int, side: int) -> _Window:
    """The smallest part of an axis of n_in pixels that still gives the centre `side` of n_out resized pixels.

    A part may begin only where an output pixel's edge meets an input pixel's edge; elsewhere the grid would shift.
    """
    first = round((n_out - side) / 2)  # as torchvision's center_crop: half to even
    ratio = n_in / n_out
    reach = math.ceil(_BICUBIC_REACH * max(1.0, 1.0 / ratio)) + 1  # output pixels

    def meets(k: int) -> bool:
        return abs(k * ratio - round(k * ratio)) <= _MAX_PHASE_ERROR * ratio

    low = next((k for k in range(first - reach, 0, -1) if meets(k)), 0)
    high = next((k for k in range(first + side + reach, n_out) if meets(k)), n_out)
    return _Window(start=round(low * ratio), stop=round(high * ratio), size=high - low, offset=first - low)


@lru_cache(maxsize=256)
def _plan(height: int, width: int, side: int, resize_to: int, mode: str) -> tuple[_Window, _Window]:
    """Windows for rows and columns."""
    if mode == "squash":
        return _window(height, n_out=side, side=side), _window(width, n_out=side, side=side)
    short = min(height, width)
    n_rows, n_columns = (resize_to if n == short else int(resize_to * n / short) for n in (height, width))
    return _window(height, n_out=n_rows, side=side), _window(width, n_out=n_columns, side=side)


class Preprocessor:
    """(H,W,3) BGR uint8 -> (S,S,3) RGB uint8, as open_clip's own transform does before normalising, to 1 grey level.

    Any thread may call it: it holds no state, runs on the calling thread alone and does not keep the picture.
    The encoder normalises, on its device.
    """

    def __init__(self, info: EncoderInfo, roi: Roi) -> None:
        resize_to = info.resize_to or info.image_size
        if info.resize_mode not in ("shortest", "squash"):
            raise ConfigError(f"{info.name}: resize_mode must be shortest or squash, got {info.resize_mode!r}")
        if info.interpolation not in ("bicubic", "bilinear"):
            raise ConfigError(f"{info.name}: interpolation must be bicubic or bilinear, got {info.interpolation!r}")
        if resize_to < info.image_size:
            raise ConfigError(f"{info.name}: resize_to must be at least {info.image_size}, got {resize_to}")
        if min(roi.x, roi.y, roi.width, roi.height) < 0 or (roi.width == 0) != (roi.height == 0):
            raise ConfigError(
                f"roi {roi.roi_id}: x, y, width, height must be 0 or more, width and height both 0 or neither, "
                f"got {roi.x}, {roi.y}, {roi.width}, {roi.height}"
            )
        self._info = info
        self._resize_to = resize_to
        self._roi = roi

    def __call__(self, image: UInt8Array) -> UInt8Array:
        """Crop, resize, crop the centre, swap to RGB; the result is contiguous and owns its memory.

        Raises BadFrame when the picture is no (H,W,3) uint8 array or does not hold the region.
        """
        region = self._cut(image)
        height, width = region.shape[:2]
        side = self._info.image_size
        rows, columns = _plan(height, width, side, self._resize_to, self._info.resize_mode)
        part = np.ascontiguousarray(region[rows.start : rows.stop, columns.start : columns.stop])
        if part.shape[:2] != (rows.size, columns.size):
            part = self._resize(part, size=(rows.size, columns.size))
        centre = part[rows.offset : rows.offset + side, columns.offset : columns.offset + side]
        return np.array(centre[:, :, ::-1], order="C")

    def _cut(self, image: UInt8Array) -> UInt8Array:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadFrame(f"picture must be (H,W,3) uint8, got {image.shape} {image.dtype}", reason="shape")
        roi = self._roi
        height, width = image.shape[:2]
        if roi.x + max(roi.width, 1) > width or roi.y + max(roi.height, 1) > height:
            raise BadFrame(
                f"roi {roi.roi_id}: x {roi.x} + width {roi.width}, y {roi.y} + height {roi.height} "
                f"must lie inside the picture, got {width} x {height}; correct the roi or the size of the picture",
                reason="roi_outside",
            )
        if roi.width == 0:
            return image[roi.y :, roi.x :]
        return image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]

    def _resize(self, part: UInt8Array, *, size: tuple[int, int]) -> UInt8Array:
        # torch's uint8 kernel is Pillow's filter with 16-bit weights, vectorised over channels-last input, one thread.
        pixels = torch.from_numpy(part).permute(2, 0, 1)[None]  # (1,3,H,W) view, channels-last
        mode = self._info.interpolation
        resized = torch.nn.functional.interpolate(pixels, size=size, mode=mode, antialias=True)
        return resized[0].permute(1, 2, 0).numpy()
