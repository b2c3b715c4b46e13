"""Features of labelled images on disk, so that a head is fitted again without encoding an image again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from pipeline.heads.bundles.atomic import write_atomic
from pipeline.types import EncoderInfo, Features

_N_SUM = 32  # bytes of SHA-256 before the values


class FeatureCache:
    """Embedding and pooled levels in fp16, one file per image and view. One thread uses it.

    The key is the hash of image, region, preprocessing, encoder and view: a change of any gives another entry, never a
    stale one. An entry that is not what its sum says counts as absent and is written again.
    """

    def __init__(self, folder: Path, *, encoder: EncoderInfo) -> None:
        self._folder = folder
        self._encoder = encoder
        self._dims = (encoder.embedding_dim, *encoder.level_dims)
        self.n_corrupt = 0  # entries found damaged since the start

    def get(self, image_sha256: str, *, region: str = "full", view: str = "canonical") -> Features | None:
        """One row of features, or None when the image has to be encoded."""
        try:
            content = self._path(image_sha256, region=region, view=view).read_bytes()
        except OSError:
            return None
        values = content[_N_SUM:]
        if hashlib.sha256(values).digest() != content[:_N_SUM] or len(values) != 2 * sum(self._dims):
            self.n_corrupt += 1
            return None
        row = np.frombuffer(values, np.float16).astype(np.float32)
        image, *levels = np.split(row, np.cumsum(self._dims)[:-1])
        return Features(image=image[None], levels=tuple(level[None] for level in levels))

    def put(self, image_sha256: str, *, features: Features, region: str = "full", view: str = "canonical") -> None:
        """Keep one row."""
        limit = np.finfo(np.float16).max
        parts = (features.image, *features.levels)
        values = np.concatenate([np.clip(part[0], -limit, limit).astype(np.float16) for part in parts]).tobytes()
        path = self._path(image_sha256, region=region, view=view)
        write_atomic(path, content=hashlib.sha256(values).digest() + values, durable=False)

    def _path(self, image_sha256: str, *, region: str, view: str) -> Path:
        info = self._encoder
        levels = "x".join(map(str, info.level_dims))
        what = "|".join((image_sha256, region, info.preprocessing_sha256, info.sha256, info.name, levels, view))
        key = hashlib.sha256(what.encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.features"
