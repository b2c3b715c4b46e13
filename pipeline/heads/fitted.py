"""What goes into a fit and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.decision.held_out import HeldOut
from pipeline.decision.unknown import text_margin
from pipeline.heads.auto.blend import BlendHead
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.deconfusion.head import DeconfusionHead
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead
from pipeline.heads.report import FitReport
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.kernel_heads import KernelHead
from pipeline.heads.simple.prototype import PrototypeHead
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

AnyHead = (
    ZeroShotHead
    | PrototypeHead
    | DeconfusionHead
    | DeconfusionSharedHead
    | BlendHead
    | AffineHead
    | KernelHead
    | CoderHead
    | CoderAdapterHead
)


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """The support set as features; `groups` numbers the source image of each row, views of one image share it."""

    features: Features  # N rows
    labels: Labels  # (N,)
    groups: Labels  # (N,)
    classes: tuple[str, ...]

    def take(self, rows: Labels) -> LabelledFeatures:
        """Some of the rows."""
        features = take_rows(self.features, rows=rows)
        return LabelledFeatures(features, self.labels[rows], self.groups[rows], self.classes)


@dataclass(frozen=True, eq=False)
class Material:
    """What a head may be fitted with besides labelled rows."""

    text: ZeroShotHead | None = None  # class vectors of the dictionary's names
    coder: CoderHead | None = None  # all texts of the dictionary, nothing tuned
    pool: Float32Array | None = None  # (M, D) unlabelled unit rows, in the order of time


@dataclass(frozen=True, eq=False)
class Judged:
    """A fitted head with what its out-of-fold rows say."""

    head: AnyHead
    temperature: float
    rows: Labels  # (M,), labelled rows that were judged; M 0 where nothing could be held out
    before: Float32Array  # (M, C) logits of the prior
    after: Float32Array  # (M, C) logits of the head
    prior: str
    fusion: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    choice: dict[str, Any] | None = None  # what `auto` or a search tried


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head, its temperature and what was measured."""

    head: AnyHead
    temperature: float
    report: FitReport
    held_out: HeldOut | None  # out-of-fold logits of this head; None where nothing could be held out


def take_rows(features: Features, *, rows: Labels) -> Features:
    """Rows of the embedding and of every level."""
    return Features(image=features.image[rows], levels=tuple(level[rows] for level in features.levels))


def held_out_of(judged: Judged, *, labels: Labels, distances: Float32Array, threshold: float | None) -> HeldOut | None:
    """Logits with their labels (M,), their novelty where all rows have a held-out distance, their text margin."""
    if not labels.size:
        return None
    known = threshold is not None and bool(np.isfinite(distances).all())
    return HeldOut(
        logits=judged.after,
        labels=labels,
        novelty=distances / np.float32(threshold) if known else None,
        text_margin=text_margin(judged.before) if judged.prior == "zero_shot" else None,
    )
