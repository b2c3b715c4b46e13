"""A small made-up line with texts, noise and mistakes, and the figures of a report on it."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from pipeline.decision import CostMatrix, DecisionPolicy
from pipeline.evaluation.report.acceptance import Split, seal
from pipeline.evaluation.report.figures import Figures, Given, make_figures
from pipeline.evaluation.report.page import About
from pipeline.heads.bundles.evidence import TextIndex
from pipeline.heads.coder.coding import Kind, text_rows
from pipeline.heads.coder.head import make_coder_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features

CLASSES = ("dent", "ok", "scratch")
POLICY = DecisionPolicy(good_classes=frozenset({"ok"}), review_below=0.5)
COSTS = CostMatrix.build(CLASSES, good_classes={"ok"}, escape=80.0, overkill=6.0, mix_up=2.0, review=1.0)
MIX = {"dent": 0.01, "ok": 0.98, "scratch": 0.01}
ABOUT = About(line="<caps & lids>", encoder="fake", date="2026-11-22", command="clearline head report images")
WIDTH = 16


def make_support(*, per_class: int = 20, noise: float = 0.3) -> LabelledFeatures:
    """Rows around one direction per class; every image its own source."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(CLASSES)), per_class).astype(np.int64)
    rows = centres()[labels] + noise * rng.normal(size=(labels.size, WIDTH))
    image = unit_rows(rows.astype(np.float32))
    return LabelledFeatures(Features(image=image), labels, np.arange(labels.size, dtype=np.int64), CLASSES)


def centres() -> np.ndarray:
    """(C, D) unit rows."""
    return np.linalg.qr(np.random.default_rng(3).normal(size=(WIDTH, len(CLASSES))))[0].T


def make_material() -> tuple[Material, TextIndex]:
    """Texts that point beside the classes."""
    beside = centres() + 0.6 * np.roll(centres(), 1, axis=0)
    vectors = unit_rows(beside.astype(np.float32))
    rows = text_rows([(Kind.NAME, vectors, np.arange(len(CLASSES)))], n_classes=len(CLASSES))
    text = ZeroShotHead(classes=CLASSES, prototypes=vectors, scale=20.0)
    index = TextIndex(vectors, np.arange(len(CLASSES)), tuple(f"a photo of a {name} part" for name in CLASSES))
    return Material(text=text, coder=make_coder_head(rows, classes=CLASSES, scale=20.0)), index


def names_of(support: LabelledFeatures) -> tuple[str, ...]:
    """A file name per row."""
    return tuple(f"{CLASSES[label]}/{row:03d}.png" for row, label in enumerate(support.labels.tolist()))


def split_of(support: LabelledFeatures) -> Split:
    """By made-up contents."""
    contents = [hashlib.sha256(name.encode()).hexdigest() for name in names_of(support)]
    return seal(support.labels, groups=support.groups, contents=contents, classes=support.classes)


def figures_of(support: LabelledFeatures, *, stated: bool = True, n_draws: int = 4) -> Figures:
    """With everything a report can hold, or without costs, mix and texts."""
    material, index = make_material() if stated else (Material(), None)
    given = Given(
        good_classes=POLICY.good_classes,
        policy=lambda _held_out, _temperature: POLICY,
        costs=COSTS if stated else None,
        mix=MIX if stated else None,
        kind="kernel_ridge",
        n_draws=n_draws,
    )
    return make_figures(
        support,
        split=split_of(support),
        pictures=names_of(support),
        given=given,
        material=material,
        texts=index,
    )


def jpeg(side: int = 24) -> bytes:
    """A small picture."""
    return cv2.imencode(".jpg", np.full((side, side, 3), 128, np.uint8))[1].tobytes()
