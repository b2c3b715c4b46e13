"""Raw bytes of an industrial camera to a BGR picture, by the format's number in GenICam's naming convention (PFNC)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.errors import BadFrame
from pipeline.types import UInt8Array


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the bytes of one pixel lie, and what OpenCV calls the way to BGR."""

    name: str
    n_bytes: int  # per pixel
    conversion: int | None  # None: it is BGR


# GenICam names a Bayer pattern by its first two pixels, OpenCV's short names by another corner; its long ones agree.
PIXEL_FORMATS = {
    0x01080001: PixelFormat("Mono8", 1, cv2.COLOR_GRAY2BGR),
    0x01080008: PixelFormat("BayerGR8", 1, cv2.COLOR_BayerGRBG2BGR),
    0x01080009: PixelFormat("BayerRG8", 1, cv2.COLOR_BayerRGGB2BGR),
    0x0108000A: PixelFormat("BayerGB8", 1, cv2.COLOR_BayerGBRG2BGR),
    0x0108000B: PixelFormat("BayerBG8", 1, cv2.COLOR_BayerBGGR2BGR),
    0x02180014: PixelFormat("RGB8", 3, cv2.COLOR_RGB2BGR),
    0x02180015: PixelFormat("BGR8", 3, None),
    0x0210001F: PixelFormat("YUV422_8_UYVY", 2, cv2.COLOR_YUV2BGR_UYVY),
    0x02100032: PixelFormat("YUV422_8", 2, cv2.COLOR_YUV2BGR_YUYV),
}
SUPPORTED = ", ".join(one.name for one in PIXEL_FORMATS.values())


def to_bgr(raw: UInt8Array, *, width: int, height: int, pixel_format: PixelFormat, where: str) -> UInt8Array:
    """(N,) bytes -> (H, W, 3) BGR of its own memory. Raises BadFrame where the bytes are too few."""
    needed = width * height * pixel_format.n_bytes
    if raw.size < needed:
        size = f"{width} x {height} {pixel_format.name}"
        raise BadFrame(f"{where}: expected {needed} bytes for {size}, got {raw.size}", reason="size_mismatch")
    shape = (height, width) if pixel_format.n_bytes == 1 else (height, width, pixel_format.n_bytes)
    image = raw[:needed].reshape(shape)
    if pixel_format.conversion is None:
        return image.copy()
    return np.asarray(cv2.cvtColor(image, pixel_format.conversion), np.uint8)
