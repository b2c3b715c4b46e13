"""A folder of labelled images as an evaluation: half to draw support sets from, half to judge on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.features_file import FeaturesFile, LabelledRows
from pipeline.heads.coder.head import CoderHead
from pipeline.heads.fitted import LabelledFeatures
from pipeline.heads.simple.zero_shot import ZeroShotHead

SPLIT_SEED = 20_261_122  # the halves never change with the seeds of the draws
MIN_IMAGES = 4  # of a class: two to draw from, two to judge on


def halves(
    support: LabelledFeatures, *, folder: Path, text: ZeroShotHead | None, coder: CoderHead | None
) -> FeaturesFile:
    """Split every class in two by source image. Raises DataError for a class with too few images."""
    rng = np.random.default_rng(SPLIT_SEED)
    drawn = np.zeros(support.labels.size, bool)
    for c, class_id in enumerate(support.classes):
        images = np.unique(support.groups[support.labels == c])
        if images.size < MIN_IMAGES:
            raise DataError(
                f"{folder / class_id}: expected at least {MIN_IMAGES} different images of class {class_id} to judge "
                f"heads on, got {images.size}; add some, or fit without judging with `clearline head fit`"
            )
        drawn |= np.isin(support.groups, rng.permutation(images)[: images.size // 2]) & (support.labels == c)
    rows = LabelledRows(
        x=support.features.image, y=support.labels, groups=support.groups, levels=support.features.levels
    )
    return FeaturesFile(
        path=folder,
        classes=support.classes,
        train={0: rows.take(np.flatnonzero(drawn))},
        test=rows.take(np.flatnonzero(~drawn)),
        val=None,
        text=text,
        coder=coder,
    )
