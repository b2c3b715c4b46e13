"""Videos and pictures that the tests make themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.types import UInt8Array

BLUE = (220, 60, 10)  # BGR, so that a swap of channels shows


def picture(index: int, *, width: int = 160, height: int = 120) -> UInt8Array:
    """(H, W, 3) BGR: bluish, with a bar whose left edge is at 4 * index pixels."""
    image = np.full((height, width, 3), BLUE, np.uint8)
    left = (4 * index) % (width - 8)
    image[:, left : left + 8] = 255
    return image


def write_video(path: Path, *, n_frames: int = 12, fps: float = 10.0) -> Path:
    """An .mp4 (MPEG-4) or .avi (MJPEG) of `picture(0..n)`."""
    codec = "mp4v" if path.suffix == ".mp4" else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (160, 120))
    assert writer.isOpened()
    for index in range(n_frames):
        writer.write(picture(index))
    writer.release()
    return path


def write_picture(path: Path, index: int = 0) -> Path:
    """One picture, encoded as its ending says; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(index))
    return path
