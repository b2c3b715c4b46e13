"""Pictures of parts that people may be asked about, as the encoder saw them; bounded, oldest removed first."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from pipeline.types import UInt8Array

QUALITY = 92


class PictureStore:
    """JPEG files named by the hash of their event id, so that no id can lead out of the folder. One thread writes."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        files = sorted(folder.glob("*.jpg"), key=lambda path: path.stat().st_mtime_ns)
        self._sizes = OrderedDict((path.name, path.stat().st_size) for path in files)
        self._n_bytes = sum(self._sizes.values())
        self._pinned: set[str] = set()

    def keep(self, event_id: str, *, image: UInt8Array) -> None:
        """(S, S, 3) RGB. What was kept already stays."""
        name = _name(event_id)
        if name in self._sizes:
            return
        done, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            return
        content = np.asarray(encoded, np.uint8).tobytes()
        (self._folder / name).write_bytes(content)
        self._sizes[name] = len(content)
        self._n_bytes += len(content)
        self._shed()

    def pin(self, event_id: str) -> None:
        """A question about it is open, or it teaches: it outlives the others."""
        self._pinned.add(_name(event_id))

    def has(self, event_id: str) -> bool:
        """Is there a picture of it?"""
        return _name(event_id) in self._sizes

    def read(self, event_id: str) -> bytes | None:
        """The JPEG; any thread may ask."""
        try:
            return (self._folder / _name(event_id)).read_bytes()
        except FileNotFoundError:
            return None

    @property
    def n_bytes(self) -> int:
        """On disk now."""
        return self._n_bytes

    def _shed(self) -> None:
        for name in [one for one in self._sizes if one not in self._pinned]:
            if self._n_bytes <= self._max_bytes:
                return
            (self._folder / name).unlink(missing_ok=True)
            self._n_bytes -= self._sizes.pop(name)


def _name(event_id: str) -> str:
    return f"{hashlib.sha256(event_id.encode()).hexdigest()[:32]}.jpg"
