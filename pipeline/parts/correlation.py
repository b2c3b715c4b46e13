"""How much the frames of one part err alike, measured on the stream without knowing the truth."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipeline.types import Float32Array

ENOUGH_PARTS = 100  # of several frames: below it a standard error of the correlation is well above 0.05
MEMORY_PARTS = 2_000  # an error of about 0.015; then all sums are halved, so that what was long ago counts less


@dataclass(slots=True)
class _Sums:
    """Of the parts with one fused label; s is a frame's centred logit of that label."""

    parts: float = 0.0
    frames: float = 0.0
    squared_frames: float = 0.0  # sum over parts of n^2
    total: float = 0.0  # sum over frames of s
    between: float = 0.0  # sum over parts of n * mean(s)^2

    def halve(self) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) / 2.0)


class IntraclassCorrelation:
    """ICC(1) of a one-way layout (Fisher, 1925, ch. 7), groups of unequal size, means of each label taken out.

    The groups are parts, the values each frame's centred logit of the label that its part was given: what of its
    spread around that label's mean is common to a part's frames. (MSB - MSW) / (MSB + (n0 - 1) MSW), between 0 and 1.
    Sums alone are kept, a few per class.
    """

    def __init__(self) -> None:
        self._labels: dict[int, _Sums] = {}
        self._within = 0.0  # sum of squares around the parts' means

    @property
    def n_parts(self) -> float:
        """Parts of several frames it rests on."""
        return sum(one.parts for one in self._labels.values())

    def add(self, logits: Float32Array, *, label: int) -> None:
        """The frames of one part, (n, C), and the class number it was given. One frame alone says nothing."""
        n = logits.shape[0]
        if n < 2:
            return
        values = logits[:, label].astype(np.float64) - logits.mean(axis=1, dtype=np.float64)
        mean = float(values.mean())
        sums = self._labels.setdefault(label, _Sums())
        sums.parts += 1
        sums.frames += n
        sums.squared_frames += n * n
        sums.total += n * mean
        sums.between += n * mean * mean
        self._within += float(((values - mean) ** 2).sum())
        if self.n_parts >= MEMORY_PARTS:
            self._within /= 2.0
            for one in self._labels.values():
                one.halve()

    @property
    def value(self) -> float:
        """0 to 1; 1 (a part says no more than its frames' mean) until ENOUGH_PARTS were seen."""
        groups = [one for one in self._labels.values() if one.parts > 1.0]
        free_between = sum(one.parts - 1.0 for one in groups)
        free_within = sum(one.frames - one.parts for one in self._labels.values())
        if self.n_parts < ENOUGH_PARTS or free_between <= 0.0:
            return 1.0
        size = sum(one.frames - one.squared_frames / one.frames for one in groups) / free_between
        between = sum(one.between - one.total**2 / one.frames for one in groups) / free_between
        within = self._within / free_within
        spread = between + (size - 1.0) * within
        return 1.0 if spread <= 0.0 else float(np.clip((between - within) / spread, 0.0, 1.0))
