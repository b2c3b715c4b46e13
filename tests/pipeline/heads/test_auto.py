"""The policy: who is tried at how many shots, who must win, what ships when nobody does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.decision.probabilities import softmax
from pipeline.errors import DataError
from pipeline.heads.auto.policy import AutoFit, fit_auto
from pipeline.heads.auto.pool_choice import trust
from pipeline.heads.auto.stacking import Gain, paired_gain, selection_folds
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features
from tests.pipeline.heads.making_heads import World, accuracy_of
from tests.pipeline.heads.making_strong import pool_of, reloaded, strong

WORLD = World(n_classes=8, seed=8, levels=False)
NOISY = World(n_classes=10, seed=7, levels=False, noise=0.9)  # one image says little about its class


def auto(support: LabelledFeatures, *, text: ZeroShotHead | None = None, pool: np.ndarray | None = None) -> AutoFit:
    return fit_auto(
        support.features,
        labels=support.labels,
        groups=support.groups,
        classes=support.classes,
        text=text,
        pool=pool,
    )


def accuracy(fitted: AutoFit, *, world: World = WORLD) -> float:
    queries = world.draw(40, seed=2)
    return accuracy_of(fitted.head.score(queries.features).logits, queries.labels)


@pytest.mark.parametrize(
    ("shots", "expected"),
    [(1, {"kernel_ridge"}), (2, {"kernel_ridge", "gda"}), (8, {"kernel_ridge", "linear", "gda"})],
)
def test_what_is_active_follows_from_the_shots(shots: int, expected: set[str]) -> None:
    fitted = auto(WORLD.draw(shots))
    assert set(fitted.report.weights) == expected
    assert sum(fitted.report.weights.values()) == pytest.approx(1.0)


def test_the_text_head_ships_when_nothing_beats_it_and_the_report_says_so() -> None:
    sharp = ZeroShotHead(classes=WORLD.classes, prototypes=WORLD.text.prototypes, scale=20.0)
    means = WORLD.means / np.linalg.norm(WORLD.means, axis=1, keepdims=True)
    perfect = replace(sharp, prototypes=means.astype(np.float32))
    random = np.random.default_rng(0)
    support = WORLD.draw(4)
    easy = perfect.score(support.features).logits.argmax(axis=1)
    support = replace(support, labels=np.where(random.random(easy.size) < 2, easy, support.labels).astype(np.int64))
    fitted = auto(support, text=perfect)
    assert fitted.report.chosen == "zero_shot"
    assert fitted.head.name == "zero_shot"
    assert "nothing beats the text head" in fitted.report.why
    assert fitted.report.weights == {}


def test_a_vague_text_head_is_beaten_and_the_gain_is_reported() -> None:
    fitted = auto(WORLD.draw(8), text=WORLD.text)
    assert fitted.report.chosen == "blend"
    last = fitted.report.trials[-1]
    assert last.name == "blend"
    assert last.gain is not None
    assert last.standard_error is not None
    assert last.gain > last.standard_error
    assert accuracy(fitted) > accuracy_of(
        WORLD.text.score(WORLD.draw(40, seed=2).features).logits, WORLD.draw(40, seed=2).labels
    )


def test_a_covering_pool_is_admitted_at_one_shot_and_helps() -> None:
    gains = []
    for seed in range(1, 5):
        support = NOISY.draw(1, seed=seed)
        with_pool = auto(support, pool=pool_of(NOISY, per_class=30))
        gains.append(accuracy(with_pool, world=NOISY) - accuracy(auto(support), world=NOISY))
        assert with_pool.report.weights["pool"] > 0.2
    assert np.mean(gains) > 0.005


def test_at_one_shot_a_head_with_a_pool_is_as_sure_as_it_agrees_with_the_labels_alone() -> None:
    support, pool = NOISY.draw(1, seed=1), pool_of(NOISY, per_class=30)
    fitted, alone = auto(support, pool=pool), auto(support)
    queries = NOISY.draw(60, seed=3).features
    logits = fitted.head.score(queries).logits / np.float32(fitted.temperature)
    agreed = (logits.argmax(axis=1) == alone.head.score(queries).logits.argmax(axis=1)).mean()
    assert softmax(logits).max(axis=1).mean() == pytest.approx(agreed, abs=0.05)


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_at_one_shot_the_pool_has_a_say_only_in_what_the_texts_leave_wrong(noise: float) -> None:
    means = NOISY.means / np.linalg.norm(NOISY.means, axis=1, keepdims=True)
    means = means + noise * np.random.default_rng(0).normal(size=means.shape) / np.sqrt(means.shape[1])
    support = NOISY.draw(1, seed=1)
    text = ZeroShotHead(classes=NOISY.classes, prototypes=unit_rows(means.astype(np.float32)), scale=20.0)
    right = float((text.score(support.features).logits.argmax(axis=1) == support.labels).mean())
    fitted = auto(support, text=text, pool=pool_of(NOISY, per_class=30))
    assert fitted.report.pool is not None
    share = fitted.report.weights.get("pool", 0.0)
    assert share == pytest.approx(trust(fitted.report.pool.coverage) * (1.0 - right))
    assert share < 0.5 if noise == 0.0 else share > 0.5


def test_a_pool_of_one_class_changes_nothing_at_all() -> None:
    support, queries = WORLD.draw(4), WORLD.draw(5, seed=2).features
    skewed = pool_of(WORLD, per_class=[30] + [1] * 7)
    with_pool, without = auto(support, pool=skewed), auto(support)
    assert with_pool.report.pool is not None
    assert not with_pool.report.pool.used
    np.testing.assert_array_equal(with_pool.head.score(queries).logits, without.head.score(queries).logits)


def test_the_same_seed_gives_the_same_bits() -> None:
    support, queries = WORLD.draw(4), WORLD.draw(5, seed=2).features
    first, second = (auto(support, pool=pool_of(WORLD)).head.score(queries).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_class_without_a_text_is_fitted_from_its_images() -> None:
    prototypes = WORLD.text.prototypes.copy()
    prototypes[[0, 3]] = 0.0
    fitted = auto(WORLD.draw(6), text=replace(WORLD.text, prototypes=prototypes))
    queries = WORLD.draw(40, seed=2)
    predicted = fitted.head.score(queries.features).logits.argmax(axis=1)
    assert (predicted[queries.labels == 0] == 0).mean() > 0.5


def test_probabilities_are_honest_out_of_fold() -> None:
    support = World(n_classes=30, seed=8, levels=False, noise=0.5).draw(18)
    fitted = auto(support)
    z = fitted.held_out_logits / fitted.temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    right = p.argmax(axis=1) == support.labels[fitted.held_out_rows]
    assert abs(p.max(axis=1).mean() - right.mean()) < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(16, np.int64)}, "none of: class-0001"),
        ({"image": np.full((16, 24), np.nan, np.float32)}, r"row 0 \(class class-0000\)"),
        ({"classes": ("only",), "labels": np.zeros(16, np.int64)}, "at least two classes, got 1: only"),
        ({"pool": np.zeros((3, 7), np.float32)}, "rows of 24 values"),
        ({"pool": np.full((3, 24), np.inf, np.float32)}, "finite features"),
    ],
)
def test_what_cannot_be_fitted_is_named(change: dict, message: str) -> None:
    support = WORLD.draw(2)
    changed = LabelledFeatures(
        Features(image=change.get("image", support.features.image)),
        change.get("labels", support.labels),
        support.groups,
        change.get("classes", support.classes),
    )
    with pytest.raises(DataError, match=message):
        fit_head(changed, material=Material(pool=change.get("pool")), kind="auto")


def test_at_two_shots_half_of_the_classes_stay_whole_in_every_fold() -> None:
    support = WORLD.draw(2)
    folds = selection_folds(support.labels, groups=support.groups, n_classes=8, seed=0)
    assert folds.n_folds == 4
    for fold in range(4):
        kept = np.bincount(support.labels[folds.kept(fold)], minlength=8)
        assert sorted(kept) == [1] * 4 + [2] * 4
    assert sorted(np.concatenate([folds.held_out(f) for f in range(4)])) == list(range(16))


def test_a_gain_counts_only_beyond_its_standard_error() -> None:
    labels = np.zeros(100, np.int64)
    always, mostly = np.tile([1.0, 0.0], (100, 1)), np.tile([1.0, 0.0], (100, 1))
    mostly[:1] = [0.0, 1.0]
    always[1:2] = [0.0, 1.0]
    one = paired_gain(always.astype(np.float32), incumbent=mostly.astype(np.float32), labels=labels)
    assert one.value == pytest.approx(0.0)  # one row each
    assert not one.exceeds(n_errors=1.0)
    mostly[:6] = [0.0, 1.0]
    assert paired_gain(always.astype(np.float32), incumbent=mostly.astype(np.float32), labels=labels).exceeds(
        n_errors=2.0
    )
    assert not Gain(value=0.0, standard_error=0.0).exceeds(n_errors=1.0)


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    head, queries = strong("auto")
    np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
