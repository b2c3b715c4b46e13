"""What every Head keeps: rows on their own, shapes, finite values, immutability, the same bits after a bundle."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from pipeline.heads.bundles.bundle import Provenance, bundle_bytes, load_bundle
from pipeline.interfaces import Head
from pipeline.types import Features, Scores
from tests.fakes import FakeHead
from tests.pipeline.heads.making_heads import KINDS, D, encoder_info, fitted, query

PROVENANCE = Provenance(texts_sha256=None, support_sha256="s" * 64, code_version="0", created_at="2026-01-01T00:00:00Z")
BUCKETS = (1, 2, 3, 8, 16, 33)
ATOL = 2e-4  # logits are of the order of 10; a matrix product of other size sums in another order


def make(name: str) -> tuple[Head, Features]:
    if name == "fake":
        head: Head = FakeHead(embedding_dim=D)
        return head, query("zero_shot")
    return fitted(name).head, query(name)


@pytest.fixture(params=["fake", *KINDS])
def case(request: pytest.FixtureRequest) -> tuple[Head, Features]:
    return make(request.param)


def pick(features: Features, rows: np.ndarray) -> Features:
    return Features(image=features.image[rows], levels=tuple(level[rows] for level in features.levels))


def assert_close(a: Scores, b: Scores) -> None:
    for name in ("zero_shot", "confusion", "logits"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=ATOL, rtol=0, err_msg=name)
    if a.novelty is not None:
        assert b.novelty is not None
        np.testing.assert_allclose(a.novelty, b.novelty, atol=ATOL, rtol=1e-4)


def test_is_a_head_with_classes_in_column_order(case: tuple[Head, Features]) -> None:
    head, features = case
    assert isinstance(head, Head)
    scores = head.score(features)
    assert scores.logits.shape == (features.image.shape[0], len(head.classes))
    assert len(set(head.classes)) == len(head.classes)


def test_scores_have_one_shape_are_float32_and_finite(case: tuple[Head, Features]) -> None:
    head, features = case
    scores = head.score(features)
    for part in (scores.zero_shot, scores.confusion, scores.logits):
        assert part.shape == scores.logits.shape
        assert part.dtype == np.float32
        assert np.isfinite(part).all()
    if scores.novelty is not None:
        assert scores.novelty.shape == (features.image.shape[0],)
        assert (scores.novelty >= 0).all()


def test_what_was_removed_adds_up_to_the_logits(case: tuple[Head, Features]) -> None:
    head, features = case
    scores = head.score(features)
    np.testing.assert_allclose(scores.zero_shot - scores.confusion, scores.logits, atol=1e-5)


@pytest.mark.parametrize("size", BUCKETS)
def test_a_row_scores_the_same_in_any_bucket(case: tuple[Head, Features], size: int) -> None:
    head, features = case
    whole = head.score(features)
    part = head.score(features.rows(size))
    assert_close(part, Scores(*(None if x is None else x[:size] for x in as_tuple(whole))))


def test_a_row_scores_the_same_at_any_place_and_among_any_neighbours(case: tuple[Head, Features]) -> None:
    head, features = case
    order = np.random.default_rng(3).permutation(features.image.shape[0])
    whole, shuffled = head.score(features), head.score(pick(features, order))
    assert_close(shuffled, Scores(*(None if x is None else x[order] for x in as_tuple(whole))))


def test_padding_does_not_change_real_rows(case: tuple[Head, Features]) -> None:
    head, features = case
    real = features.rows(3)
    for filler in (0.0, 1e4):
        image = np.full((8, D), filler, np.float32)
        image[:3] = real.image
        levels = []
        for level in real.levels:
            padded = np.full((8, level.shape[1]), filler, np.float32)
            padded[:3] = level
            levels.append(padded)
        scores = head.score(Features(image=image, levels=tuple(levels)))
        assert_close(Scores(*(None if x is None else x[:3] for x in as_tuple(scores))), head.score(real))


def test_scoring_changes_nothing_it_was_given_and_keeps_nothing(case: tuple[Head, Features]) -> None:
    head, features = case
    before = features.image.copy()
    first = head.score(features)
    first.logits[:] = 0.0
    first.zero_shot[:] = 0.0
    again, third = head.score(features), head.score(features)
    np.testing.assert_array_equal(again.logits, third.logits)
    assert np.abs(again.logits).max() > 0
    np.testing.assert_array_equal(features.image, before)


@pytest.mark.parametrize("name", KINDS)
def test_a_fitted_head_cannot_be_changed(name: str) -> None:
    head = fitted(name).head
    with pytest.raises(FrozenInstanceError):
        head.novelty = None  # type: ignore[misc]


@pytest.mark.parametrize("name", KINDS)
def test_a_bundle_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.head"
    one = fitted(name)
    info = encoder_info(levels="without levels" not in name)
    path.write_bytes(bundle_bytes(one, encoder=info, version=3, provenance=PROVENANCE))
    bundle = load_bundle(path, encoder=info, classes=one.head.classes)
    assert (bundle.version, bundle.temperature, bundle.head.name) == (3, one.temperature, one.head.name)
    assert bundle.head.classes == one.head.classes
    ours, theirs = one.head.score(query(name)), bundle.head.score(query(name))
    for a, b in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", KINDS)
def test_a_bundle_made_twice_has_the_same_bytes(name: str) -> None:
    info = encoder_info(levels="without levels" not in name)
    made = {bundle_bytes(fitted(name), encoder=info, version=3, provenance=PROVENANCE) for _ in range(8)}
    assert len(made) == 1


def as_tuple(scores: Scores) -> tuple[np.ndarray | None, ...]:
    return (scores.zero_shot, scores.confusion, scores.logits, scores.novelty)
