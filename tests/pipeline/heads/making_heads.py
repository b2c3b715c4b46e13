"""Synthetic support sets with confused texts, and one fitted head of every kind."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.heads.coder.coding import Kind, text_rows
from pipeline.heads.coder.head import CoderHead, make_coder_head
from pipeline.heads.coder.rerank import pair_vectors
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
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

    def coder(self) -> CoderHead:
        """A name, a synonym and two attributes per class, the attributes telling look-alikes apart."""
        rng = np.random.default_rng(5)
        names = np.arange(self.n_classes)
        told = self.means[np.repeat(names, 2)] + 0.8 * rng.normal(size=(2 * self.n_classes, D))
        parts = [
            (Kind.NAME, self.text.prototypes, names),
            (Kind.SYNONYM, unit_rows((self.means + rng.normal(size=self.means.shape)).astype(np.float32)), names),
            (Kind.ATTRIBUTE, unit_rows(told.astype(np.float32)), np.repeat(names, 2)),
        ]
        pairs = [(a, b) for a in range(0, self.n_classes - 1, 2) for a, b in ((a, a + 1), (a + 1, a))]
        one_to_one = unit_rows(self.means[[a for a, _ in pairs]].astype(np.float32))
        rows = text_rows(parts, n_classes=self.n_classes)
        sentences = tuple(f"text {i}" for i in range(len(rows.vectors)))
        told_apart = pair_vectors(one_to_one, pair_of=np.array(pairs), n_classes=self.n_classes)
        return make_coder_head(rows, classes=self.classes, scale=20.0, pairs=told_apart, sentences=sentences)

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
    "shared": {"kind": "deconfusion_shared", "text": True},
    "shared without text": {"kind": "deconfusion_shared", "text": False},
    "shared without levels": {"kind": "deconfusion_shared", "text": True, "levels": False},
    "shared one shot": {"kind": "deconfusion_shared", "text": True, "shots": 1},
    "auto": {"kind": "auto", "text": True},
    "auto without text": {"kind": "auto", "text": False, "pool": True},
    "auto one shot": {"kind": "auto", "text": True, "shots": 1},
    "probe": {"kind": "probe", "text": True},
    "probe without text": {"kind": "probe", "text": False},
    "gda": {"kind": "gda", "text": True},
    "gda without levels": {"kind": "gda", "text": True, "levels": False},
    "kernel_ridge": {"kind": "kernel_ridge", "text": True},
    "linear": {"kind": "linear", "text": True},
    "tip": {"kind": "tip", "text": True},
    "pool": {"kind": "pool", "text": True, "pool": True},
    "coder": {"kind": "coder", "text": True},
    "coder tuned": {"kind": "coder", "text": True, "tune": True},
    "coder_adapter": {"kind": "coder_adapter", "text": True},
}


@cache
def fitted(name: str) -> FittedHead:
    how = KINDS[name]
    world = World(levels=bool(how.get("levels", True)))
    return fit_head(
        world.draw(int(how.get("shots", 6))),
        material=Material(
            text=world.text if how["text"] else None,
            coder=world.coder() if how["text"] else None,
            pool=world.draw(20, seed=9).features.image if how.get("pool") else None,
        ),
        kind=str(how["kind"]),
        tune=bool(how.get("tune", False)),
        fusion=str(how.get("fusion", "beta")),
    )


def query(name: str, *, n: int = 33) -> Features:
    world = World(levels=bool(KINDS[name].get("levels", True)))
    return world.draw(6, seed=9).features.rows(n)
