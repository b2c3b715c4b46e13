"""Notices a camera that delivers nothing, or the same picture for ever."""

from __future__ import annotations

import zlib

import numpy as np

from pipeline.errors import SourceUnavailable
from pipeline.interfaces import Clock
from pipeline.types import UInt8Array

STRIDE = 7  # pixels; odd, so that it does not walk along the 8-pixel grid of video codecs


class FrameWatchdog:
    """Watches the age of the last new picture; 0 turns a limit off.

    A real sensor has noise, so two pictures are never equal to the bit; a hung encoder or recorder repeats itself
    exactly. A low bit rate can hide the noise until the next key frame: keep `frozen_s` well above the key-frame
    interval, and 0 for a drawn or paused test picture.
    """

    def __init__(self, *, stall_s: float, frozen_s: float, clock: Clock, where: str = "camera") -> None:
        self._stall_s = stall_s
        self._frozen_s = frozen_s
        self._clock = clock
        self._where = where
        self._digest: tuple[object, ...] | None = None
        self._changed_at = clock.monotonic()
        self._came_at = self._changed_at

    def reset(self) -> None:
        """A new connection: start counting from now."""
        self._digest = None
        self._changed_at = self._came_at = self._clock.monotonic()

    def seen(self, image: UInt8Array) -> None:
        """A picture (H, W, 3) came. Raises SourceUnavailable when it has been the same for `frozen_s`."""
        now = self._clock.monotonic()
        sample = np.ascontiguousarray(image[::STRIDE, ::STRIDE]).data
        digest = (image.shape, zlib.crc32(sample), zlib.adler32(sample))
        if digest != self._digest:
            self._digest = digest
            self._changed_at = now
        self._came_at = now
        age_s = now - self._changed_at
        if 0 < self._frozen_s <= age_s:
            raise SourceUnavailable(
                f"{self._where}: expected a changing picture, got the same one to the bit for {age_s:.1f} s; "
                "the camera or its encoder hangs (for a still test picture set frozen_s to 0)"
            )

    def check(self) -> None:
        """No picture came this time. Raises SourceUnavailable when none has come for `stall_s`."""
        age_s = self._clock.monotonic() - self._came_at
        if 0 < self._stall_s <= age_s:
            raise SourceUnavailable(f"{self._where}: expected pictures, got no usable one for {age_s:.1f} s")
