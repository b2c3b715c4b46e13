"""The last parts of every camera, as the encoder saw them, for people who look at the wall."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.interfaces import Clock
from pipeline.types import Batch, Features, Prediction, UInt8Array

EVERY_S = 0.5  # a part of a camera is copied at most so often
KEPT = 256  # parts per process that can be asked for by event


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A part that was on the wall, with all that its answer rests on."""

    prediction: Prediction
    pixels: UInt8Array  # (S, S, 3) RGB
    features: Features  # of one row


class Wall:
    """Fed by the inference thread, read by any. A picture is encoded when somebody asks for it."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken_at: dict[str, float] = {}
        self._shown: dict[str, Shown] = {}  # by event id, oldest first
        self._last: dict[str, Prediction] = {}  # by camera: the one whose picture is kept

    def see(self, batch: Batch, features: Features, predictions: Sequence[Prediction]) -> None:
        """Copy what is due."""
        now = self._clock.monotonic()
        for row, one in enumerate(predictions):
            camera = one.ref.source_id
            if now - self._taken_at.get(camera, -EVERY_S) < EVERY_S:
                continue
            self._taken_at[camera] = now
            levels = tuple(level[row : row + 1].copy() for level in features.levels)
            own = Features(features.image[row : row + 1].copy(), levels)
            with self._lock:
                self._shown[one.ref.event_id] = Shown(one, batch.pixels[row].copy(), own)
                self._last[camera] = one
                while len(self._shown) > max(KEPT, len(self._last)):
                    del self._shown[next(iter(self._shown))]

    def last(self) -> dict[str, Prediction]:
        """By camera."""
        with self._lock:
            return dict(self._last)

    def shown(self, event_id: str) -> Shown | None:
        """None where it is no longer kept."""
        with self._lock:
            return self._shown.get(event_id)

    def picture(self, event_id: str) -> bytes | None:
        """JPEG; None where it is no longer kept."""
        shown = self.shown(event_id)
        if shown is None:
            return None
        done, encoded = cv2.imencode(".jpg", shown.pixels[:, :, ::-1])
        return np.asarray(encoded, np.uint8).tobytes() if done else None
