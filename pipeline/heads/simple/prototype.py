"""The prior of an encoder without text tower: the cosine to each class's mean image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.calibration import fit_temperature
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.zero_shot import plain_scores, unit_rows, zero_shot_logits
from pipeline.heads.whitening import Labels, class_means
from pipeline.types import Features, Float32Array, Scores

DEFAULT_SCALE = 10.0  # where no class has two images, so that nothing can be left out
SCALE_SPREAD = 1.5  # of log scale: the likelihood decides, the default only breaks the tie


@dataclass(frozen=True, eq=False)
class PrototypeHead:
    """scale * cosine between centred image and centred class mean (nearest class mean, Snell et al., 2017)."""

    classes: tuple[str, ...]
    prototypes: Float32Array  # (C, D), unit rows, centred
    centre: Float32Array  # (D,), mean of the support images: takes off what all parts have in common
    scale: float
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "prototype"

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C) logits; no confusion is removed."""
        logits = zero_shot_logits(features.image - self.centre, prototypes=self.prototypes, scale=self.scale)
        return plain_scores(logits, image=features.image, novelty=self.novelty)


def leave_one_out_cosines(
    image: Float32Array, *, labels: Labels, groups: Labels, n_classes: int
) -> tuple[Float32Array, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Cosines (N, C) where a row's own class mean leaves out all rows of its source image, and which rows could.

    A row alone in its class keeps its own mean; it says nothing about how well the prototypes do.
    """
    centred = image.astype(np.float64) - image.mean(axis=0, dtype=np.float64)
    sums = class_means(centred, labels=labels, n_classes=n_classes) * np.bincount(labels, minlength=n_classes)[:, None]
    cosines = unit_rows(centred.astype(np.float32)) @ unit_rows(sums.astype(np.float32)).T
    _, group_of = np.unique(groups, return_inverse=True)
    group_sums = np.zeros((group_of.max() + 1, image.shape[1]))
    np.add.at(group_sums, group_of, centred)
    others = np.bincount(labels, minlength=n_classes)[labels] - np.bincount(group_of)[group_of]
    possible = others > 0
    own = unit_rows((sums[labels] - group_sums[group_of]).astype(np.float32))
    left_out = (unit_rows(centred.astype(np.float32)) * own).sum(axis=1)
    cosines[np.arange(labels.size), labels] = np.where(possible, left_out, cosines[np.arange(labels.size), labels])
    return cosines.astype(np.float32), possible


def fit_prototypes(
    image: Float32Array, *, labels: Labels, groups: Labels, classes: tuple[str, ...]
) -> tuple[PrototypeHead, Float32Array]:
    """The head, and the leave-one-out logits (N, C) of the rows it was made from.

    `groups` numbers the source image of each row. The scale is the one of highest leave-one-out likelihood.
    """
    centre = image.mean(axis=0, dtype=np.float64).astype(np.float32)
    means = class_means(image.astype(np.float64), labels=labels, n_classes=len(classes)).astype(np.float32)
    cosines, possible = leave_one_out_cosines(image, labels=labels, groups=groups, n_classes=len(classes))
    scale = DEFAULT_SCALE
    if possible.any():
        usable = cosines[possible] * np.float32(DEFAULT_SCALE)
        scale /= fit_temperature(usable, labels=labels[possible], prior_spread=SCALE_SPREAD)
    head = PrototypeHead(classes=classes, prototypes=unit_rows(means - centre), centre=centre, scale=scale)
    return head, np.float32(scale) * cosines
