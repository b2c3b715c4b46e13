"""The last picture of every camera, as the encoder saw it, for people who look at the wall."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.interfaces import Clock
from pipeline.types import Batch, Prediction, UInt8Array

EVERY_S = 0.5  # a picture of a camera is copied at most so often
KEPT = 64  # pictures per process that can be asked for by event


class Wall:
    """Fed by the inference thread, read by any. A picture is encoded when somebody asks for it."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken_at: dict[str, float] = {}
        self._pictures: dict[str, UInt8Array] = {}  # by event id, oldest first
        self._last: dict[str, Prediction] = {}  # by camera: the one whose picture is kept

    def see(self, batch: Batch, predictions: Sequence[Prediction]) -> None:
        """Copy what is due."""
        now = self._clock.monotonic()
        for row, one in enumerate(predictions):
            camera = one.ref.source_id
            if now - self._taken_at.get(camera, -EVERY_S) < EVERY_S:
                continue
            self._taken_at[camera] = now
            with self._lock:
                self._pictures[one.ref.event_id] = batch.pixels[row].copy()
                self._last[camera] = one
                while len(self._pictures) > max(KEPT, len(self._last)):
                    del self._pictures[next(iter(self._pictures))]

    def last(self) -> dict[str, Prediction]:
        """By camera."""
        with self._lock:
            return dict(self._last)

    def picture(self, event_id: str) -> bytes | None:
        """JPEG; None where it is no longer kept."""
        with self._lock:
            pixels = self._pictures.get(event_id)
        if pixels is None:
            return None
        done, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1])
        return np.asarray(encoded, np.uint8).tobytes() if done else None
