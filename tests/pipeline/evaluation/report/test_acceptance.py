"""The sealed split: whose image is where depends on the image alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.evaluation.report.acceptance import MOST, Split, seal
from pipeline.heads.whitening import Labels

CLASSES = ("ok", "dent")


def contents_of(n: int, *, start: int = 0) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(start, start + n)]


def sealed_contents(contents: list[str], *, labels: Labels) -> set[str]:
    split = seal(labels, groups=np.arange(labels.size), contents=contents, classes=CLASSES)
    return {contents[row] for row in split.sealed}


def test_the_sides_are_disjoint_and_together_everything() -> None:
    labels = np.repeat([0, 1], 60)
    split = seal(labels, groups=np.arange(120), contents=contents_of(120), classes=CLASSES)
    assert sorted([*split.rest, *split.sealed]) == list(range(120))
    assert 20 <= split.sealed.size <= 52  # 36 expected, three standard deviations


def test_order_does_not_matter() -> None:
    contents, labels = contents_of(80), np.repeat([0, 1], 40)
    shuffled = np.random.default_rng(1).permutation(80)
    assert sealed_contents(contents, labels=labels) == sealed_contents(
        [contents[i] for i in shuffled], labels=labels[shuffled]
    )


def test_an_image_stays_on_its_side_when_others_come() -> None:
    few, labels = contents_of(80), np.repeat([0, 1], 40)
    many = [*few, *contents_of(60, start=500)]
    before = sealed_contents(few, labels=labels)
    after = sealed_contents(many, labels=np.concatenate([labels, np.tile([0, 1], 30)]))
    assert after & set(few) == before


def test_views_of_one_image_are_on_one_side() -> None:
    labels, groups = np.repeat([0, 1], 40), np.arange(80) // 4
    split: Split = seal(labels, groups=groups, contents=contents_of(80), classes=CLASSES)
    assert not set(groups[split.sealed]) & set(groups[split.rest])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_each_class_has_at_least_one_and_at_most_half(n: int) -> None:
    for start in range(0, 400, 2 * n):
        labels = np.repeat([0, 1], n)
        split = seal(labels, groups=np.arange(2 * n), contents=contents_of(2 * n, start=start), classes=CLASSES)
        counts = np.bincount(labels[split.sealed], minlength=2)
        assert counts.min() >= 1
        assert counts.max() <= n // 2


def test_large_classes_give_no_more_than_fifty() -> None:
    labels = np.repeat([0, 1], 300)
    split = seal(labels, groups=np.arange(600), contents=contents_of(600), classes=CLASSES)
    assert np.bincount(labels[split.sealed]).tolist() == [MOST, MOST]


def test_a_lone_image_is_refused_by_class() -> None:
    with pytest.raises(DataError, match="at least 2 different images of class dent"):
        seal(np.array([0, 0, 1]), groups=np.arange(3), contents=contents_of(3), classes=CLASSES)
