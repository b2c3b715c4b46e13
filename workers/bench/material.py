"""Pictures to measure with, rendered on the spot: decoded frames, an H.264 video, a folder of JPEGs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline.types import UInt8Array

FULL_HD = (1080, 1920)  # height, width
HD = (720, 1280)
FPS = 30
JPEG_QUALITY = 90
_NOISE_LEVELS = 7.0  # grey levels, about a sensor's at moderate gain: without noise a decoder has nothing to do
_N_SHAPES = 24


def frames(n: int, *, size: tuple[int, int], seed: int = 0) -> Iterator[UInt8Array]:
    """n pictures (H,W,3) BGR of parts that travel over a textured belt under sensor noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    belt = cv2.GaussianBlur(rng.integers(60, 160, (height, width, 3), np.uint8), (0, 0), 2.0)
    shapes = rng.integers(0, 256, (_N_SHAPES, 7))
    noise = rng.normal(0.0, _NOISE_LEVELS, (height + 64, width + 64, 1)).astype(np.float32)
    for index in range(n):
        image = np.roll(belt, 8 * index, axis=1)
        for at, y, radius, *colour in shapes.tolist():
            x = (at * width // 256 + 8 * index) % width
            cv2.circle(image, (x, y * height // 256), 8 + radius // 4, colour[:3], thickness=-1)
        top, left = rng.integers(0, 64, 2)
        noisy = image + noise[top : top + height, left : left + width]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def write_video(path: Path, *, n: int, size: tuple[int, int] = FULL_HD, seed: int = 0) -> Path:
    """An H.264 MP4 of n frames at 30 fps and 8 Mbit/s, a camera's usual rate at 1080p."""
    import av

    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 8_000_000
        for image in frames(n, size=size, seed=seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


def write_jpegs(folder: Path, *, n: int, size: tuple[int, int] = FULL_HD, seed: int = 0) -> Path:
    """A folder of n JPEGs at quality 90."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(frames(n, size=size, seed=seed)):
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return folder
