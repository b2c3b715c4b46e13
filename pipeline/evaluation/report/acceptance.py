"""The sealed split: images that judge a head once and have no part in making it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.whitening import Labels

SHARE = 0.3  # of the source images of a class, on average
MOST = 50  # sealed images of a class; beyond that labels are worth more in the fit
SALT = (
    b"clearline acceptance split 1\n"  # the order of plain content hashes would be known to whoever names files by it
)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows by side; all views of one source image are on the same side."""

    rest: Labels  # (N - S,), for fitting, temperature, thresholds and curves
    sealed: Labels  # (S,), judged once


def seal(labels: Labels, *, groups: Labels, contents: Sequence[str], classes: tuple[str, ...]) -> Split:
    """Split by source image and class; `contents` is a digest of each row's file. Raises DataError for lone images.

    An image is sealed when the hash of its content is in the lowest 30 % of all hashes, so its side depends on nothing
    but itself: names, order, seeds and who fits play no part. Three bounds per class bend this where counts are small
    or large: at least one is sealed, at most half, at most 50; the lowest hashes come first. By adding images only the
    bound of a half can bring an image from the fit to the sealed side.
    """
    ranks = _ranks(groups, contents=contents)
    sealed = np.zeros(labels.size, bool)
    for c, class_id in enumerate(classes):
        images = np.unique(groups[labels == c])
        if images.size < 2:
            raise DataError(
                f"report: expected at least 2 different images of class {class_id}, one to fit on and one to judge "
                f"with, got {images.size}; add some"
            )
        ordered = sorted(images.tolist(), key=lambda image: ranks[image])
        n_under = sum(ranks[image] < SHARE for image in ordered)
        n_sealed = max(1, min(n_under, images.size // 2, MOST))
        sealed |= np.isin(groups, ordered[:n_sealed]) & (labels == c)
    return Split(rest=np.flatnonzero(~sealed), sealed=np.flatnonzero(sealed))


def _ranks(groups: Labels, *, contents: Sequence[str]) -> dict[int, float]:
    """Per source image a number in [0, 1), from the lowest digest of its views."""
    lowest: dict[int, str] = {}
    for group, content in zip(groups.tolist(), contents, strict=True):
        lowest[group] = min(content, lowest.get(group, content))
    return {group: _fraction(content) for group, content in lowest.items()}


def _fraction(content: str) -> float:
    return int.from_bytes(hashlib.sha256(SALT + content.encode()).digest()[:6], "big") / 2.0**48
