"""Synthetic support sets with confused texts, and one fitted head of every kind."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.heads.fit import FittedHead, LabelledFeatures, fit_head
from pipeline.heads.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import EncoderInfo, Features

D = 24
LEVEL_DIMS = (12, 16)


def encoder_info(*, levels: bool = True, sha256: str = "a" * 64, image_size: int = 4) -> EncoderInfo:
    return EncoderInfo(
        name="fake",
        sha256=sha256,
        image_size=image_size,
        embedding_dim=D,
        level_dims=LEVEL_DIMS if levels else (),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize_mode="shortest",
        interpolation="bicubic",
        has_text=True,
    )


class World:
    """C classes in look-alike pairs: the texts hardly tell a pair apart, embedding and levels do."""

    def __init__(self, *, n_classes: int = 6, levels: bool = True, noise: float = 0.35, seed: int = 0) -> None:
        self.n_classes, self.noise, self._levels = n_classes, noise, levels
        self.rng = np.random.default_rng(seed)
        group = self.rng.normal(size=(n_classes // 2 + 1, D))[np.arange(n_classes) // 2]
        detail = self.rng.normal(size=(n_classes, D))
        self.means = group + 0.6 * detail
        vague = group + 0.05 * self.rng.normal(size=(n_classes, D))
        self._maps = [self.rng.normal(size=(D, dim)) / np.sqrt(D) for dim in LEVEL_DIMS]
        self.classes = tuple(f"class-{i:04d}" for i in range(n_classes))
        self.text = ZeroShotHead(classes=self.classes, prototypes=unit_rows(vague.astype(np.float32)), scale=20.0)

    def draw(self, shots: int | list[int], *, seed: int = 1) -> LabelledFeatures:
        counts = shots if isinstance(shots, list) else [shots] * self.n_classes
        labels = np.repeat(np.arange(self.n_classes), counts).astype(np.int64)
        rng = np.random.default_rng(seed)
        x = self.means[labels] + self.noise * rng.normal(size=(labels.size, D)) * 1.5
        levels = tuple(np.maximum(x @ m, 0).astype(np.float32) for m in self._maps) if self._levels else ()
        features = Features(image=unit_rows(x.astype(np.float32)), levels=levels)
        return LabelledFeatures(features, labels, np.arange(labels.size, dtype=np.int64), self.classes)


def accuracy_of(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


KINDS = {
    "zero_shot": {"kind": "zero_shot", "text": True},
    "prototype": {"kind": "prototype", "text": False},
    "deconfusion": {"kind": "deconfusion", "text": True},
    "deconfusion without text": {"kind": "deconfusion", "text": False},
    "deconfusion without levels": {"kind": "deconfusion", "text": True, "levels": False},
    "deconfusion gated": {"kind": "deconfusion", "text": True, "fusion": "gate"},
    "deconfusion fixed": {"kind": "deconfusion", "text": True, "fusion": "fixed"},
    "deconfusion one shot": {"kind": "deconfusion", "text": True, "shots": 1},
}


@cache
def fitted(name: str) -> FittedHead:
    how = KINDS[name]
    world = World(levels=bool(how.get("levels", True)))
    return fit_head(
        world.draw(int(how.get("shots", 6))),
        text=world.text if how["text"] else None,
        kind=str(how["kind"]),
        fusion=str(how.get("fusion", "beta")),
    )


def query(name: str, *, n: int = 33) -> Features:
    world = World(levels=bool(KINDS[name].get("levels", True)))
    return world.draw(6, seed=9).features.rows(n)
