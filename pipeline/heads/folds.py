"""Folds inside the support set: split by source image, stratified by class and shot, repeatable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.whitening import Labels

FOUR_FOLDS_FROM = 4  # shots per class; below, every shot is its own fold


@dataclass(frozen=True, eq=False)
class Folds:
    """Which fold holds out which row; `n_folds` 0 means nothing can be held out."""

    fold_of: Labels  # (N,), -1 where a row is never held out
    n_folds: int
    kind: str  # "4-fold" | "leave-one-out" | "none"
    seed: int

    def held_out(self, fold: int) -> Labels:
        """Rows the fold is judged on."""
        return np.flatnonzero(self.fold_of == fold)

    def kept(self, fold: int) -> Labels:
        """Rows the fold is fitted on."""
        return np.flatnonzero(self.fold_of != fold)

    @property
    def judged(self) -> Labels:
        """Rows that are held out once."""
        return np.flatnonzero(self.fold_of >= 0)


def shots_per_class(labels: Labels, *, groups: Labels, n_classes: int) -> Labels:
    """(C,) source images per class; several views of one image count once."""
    _, first = np.unique(groups, return_index=True)
    return np.bincount(labels[first], minlength=n_classes).astype(np.int64)


def make_folds(labels: Labels, *, groups: Labels, n_classes: int, seed: int) -> Folds:
    """K = median shots: 4 folds from four on, leave-one-out for two and three, none for one.

    A class with a single image is never held out: a fold without any image of a class could not learn it.
    """
    shots = shots_per_class(labels, groups=groups, n_classes=n_classes)
    median = float(np.median(shots[shots > 0])) if (shots > 0).any() else 0.0
    n_folds = 4 if median >= FOUR_FOLDS_FROM else int(median) if median >= 2 else 0
    kind = "4-fold" if n_folds == 4 else "leave-one-out" if n_folds else "none"
    fold_of = np.full(labels.size, -1, dtype=np.int64)
    if not n_folds:
        return Folds(fold_of=fold_of, n_folds=0, kind=kind, seed=seed)
    rng = np.random.default_rng(seed)
    for c in range(n_classes):
        images = np.unique(groups[labels == c])
        if images.size < 2:
            continue
        offset = int(rng.integers(n_folds))  # so that leftovers do not all fall on the first fold
        for position, image in enumerate(rng.permutation(images)):
            fold_of[groups == image] = (position + offset) % n_folds
    return Folds(fold_of=fold_of, n_folds=n_folds, kind=kind, seed=seed)
