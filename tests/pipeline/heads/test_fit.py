"""Fitting heads: what folds, fusion and refit must hold to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import DataError
from pipeline.heads.deconfusion.fusion import ExpertLogits, Fusion, choose_fusion, usual_beta
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features
from tests.pipeline.heads.making_heads import D, World, accuracy_of, fitted, query


def test_the_fitted_head_tells_apart_what_the_texts_confuse() -> None:
    world = World()
    test = world.draw(60, seed=7)
    one = fit_head(world.draw(8), material=Material(text=world.text))
    scores = one.head.score(test.features)
    before, after = accuracy_of(scores.zero_shot, test.labels), accuracy_of(scores.logits, test.labels)
    assert after >= before + 0.10
    assert one.report.accuracy_head.value >= one.report.accuracy_zero_shot.value + 0.10


def test_out_of_fold_accuracy_is_near_the_accuracy_on_new_images() -> None:
    world = World(noise=0.6)
    test = world.draw(200, seed=7)
    one = fit_head(world.draw(16))
    low, high = one.report.accuracy_head.interval
    assert low - 0.02 <= accuracy_of(one.head.score(test.features).logits, test.labels) <= high + 0.05


def test_the_same_seed_gives_the_same_bits_whatever_ran_before() -> None:
    world = World()
    first = fit_head(world.draw(5), material=Material(text=world.text), seed=4).head.score(query("deconfusion"))
    torch.manual_seed(99)
    np.random.default_rng().normal()
    second = fit_head(world.draw(5), material=Material(text=world.text), seed=4).head.score(query("deconfusion"))
    np.testing.assert_array_equal(first.logits, second.logits)


def test_fitting_leaves_the_callers_random_stream_and_threads_alone() -> None:
    world = World()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    n_threads = torch.get_num_threads()
    fit_head(world.draw(2), material=Material(text=world.text))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == n_threads


def useless_images(world: World) -> LabelledFeatures:
    """The texts read six clean directions; all others are much louder and say nothing."""
    labels = np.repeat(np.arange(6), 8).astype(np.int64)
    rng = np.random.default_rng(0)
    x = (
        np.eye(6, D)[labels]
        + 0.3 * rng.normal(size=(48, D))
        + 8.0 * np.pad(rng.normal(size=(48, D - 6)), ((0, 0), (6, 0)))
    )
    return LabelledFeatures(Features(unit_rows(x.astype(np.float32))), labels, np.arange(48), world.classes)


@pytest.mark.parametrize("fusion", ["beta", "fixed", "gate"])
def test_a_head_that_is_worse_out_of_fold_is_not_shipped_and_says_so(fusion: str) -> None:
    world = World(levels=False)
    good = ZeroShotHead(classes=world.classes, prototypes=np.eye(6, D, dtype=np.float32), scale=20.0)
    one = fit_head(useless_images(world), material=Material(text=good), fusion=fusion)
    assert one.report.accuracy_head.n_right >= one.report.accuracy_zero_shot.n_right
    if fusion == "fixed":
        assert any("the prior is kept as it is" in note for note in one.report.notes)
        scores = one.head.score(useless_images(world).features)
        np.testing.assert_array_equal(scores.logits.argmax(axis=1), scores.zero_shot.argmax(axis=1))


@pytest.mark.parametrize("shots", [1, 2, 3, 4])
@pytest.mark.parametrize("has_text", [True, False])
def test_any_small_number_of_shots_can_be_fitted(shots: int, has_text: bool) -> None:
    world = World()
    one = fit_head(world.draw(shots), material=Material(text=world.text if has_text else None))
    assert one.report.folds == {1: "none", 2: "leave-one-out", 3: "leave-one-out", 4: "4-fold"}[shots]
    assert np.isfinite(one.head.score(query("deconfusion")).logits).all()
    assert (one.head.novelty is None) == (shots < 3)


def test_a_class_with_a_single_image_among_larger_ones_is_fitted_and_never_held_out() -> None:
    world = World()
    one = fit_head(world.draw([1, 8, 8, 8, 8, 8]))
    assert one.report.shots == (1, 8, 8, 8, 8, 8)
    assert one.report.accuracy_head.n == 40
    assert np.isfinite(one.head.score(query("deconfusion")).logits).all()


def test_one_row_scores_like_many() -> None:
    head = fitted("deconfusion").head
    features = query("deconfusion")
    alone = np.concatenate([head.score(features.rows(1)).logits])
    np.testing.assert_allclose(alone, head.score(features).logits[:1], atol=1e-4)


def test_a_thousand_classes_do_not_explode() -> None:
    n, rng = 1000, np.random.default_rng(0)
    means = rng.normal(size=(n, D))
    labels = np.arange(n).astype(np.int64)
    classes = tuple(f"c{i}" for i in range(n))
    x = unit_rows((means + 0.2 * rng.normal(size=means.shape)).astype(np.float32))
    text = ZeroShotHead(classes=classes, prototypes=unit_rows(means.astype(np.float32)), scale=100.0)
    one = fit_head(LabelledFeatures(Features(image=x), labels, labels, classes), material=Material(text=text))
    assert accuracy_of(one.head.score(Features(image=x)).logits, labels) > 0.7
    assert sum(p.numel() for p in one.head.network.parameters()) < 2_000_000


def test_progress_rises_to_one() -> None:
    world, shares = World(), list[float]()
    fit_head(world.draw(4), material=Material(text=world.text), on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_equal_images_of_a_class_do_not_break_the_fit() -> None:
    world = World()
    support = world.draw(4)
    image = support.features.image.copy()
    image[support.labels == 0] = image[0]
    one = fit_head(replace(support, features=replace(support.features, image=image)))
    assert np.isfinite(one.head.score(query("deconfusion")).logits).all()


def broken(what: str) -> tuple[LabelledFeatures, ZeroShotHead | None]:
    world = World(levels=False)
    support = world.draw(2)
    image = support.features.image.copy()
    if what == "nan":
        image[3] = np.nan
        return replace(support, features=Features(image=image)), world.text
    if what == "one class":
        return replace(support, labels=np.zeros(12, np.int64), classes=("ok",)), None
    if what == "empty class":
        return replace(support, labels=np.minimum(support.labels, 4)), world.text
    if what == "rows":
        return replace(support, features=Features(image=image[:-1])), world.text
    if what == "texts":
        return support, replace(world.text, classes=("a", "b", "c", "d", "e", "f"))
    return support, replace(world.text, prototypes=np.ones((6, 3), np.float32))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", "row 3 .*class-0001"),
        ("one class", "at least two classes, got 1: ok"),
        ("empty class", "none of: class-0005"),
        ("rows", "one row of features per label"),
        ("texts", "expected the classes"),
        ("width", "one width, got 3 and 24"),
    ],
)
def test_unusable_support_sets_are_refused_with_what_is_wrong(what: str, message: str) -> None:
    support, text = broken(what)
    with pytest.raises(DataError, match=message):
        fit_head(support, material=Material(text=text))


def test_zero_shot_needs_texts() -> None:
    with pytest.raises(DataError, match="expected class texts"):
        fit_head(World().draw(2), kind="zero_shot")


def test_missing_levels_are_refused_when_scoring() -> None:
    with pytest.raises(DataError, match="expected levels of widths"):
        fitted("deconfusion").head.score(Features(image=query("deconfusion").image))


def experts(*, prior: np.ndarray, maf: np.ndarray) -> ExpertLogits:
    zeros = np.zeros_like(prior)
    return ExpertLogits(prior, zeros, maf, zeros)


def test_fusion_takes_the_expert_that_is_right_and_keeps_the_usual_beta_between_equals() -> None:
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(4), 40).astype(np.int64)
    right = (4.0 * np.eye(4)[labels] + rng.normal(size=(160, 4))).astype(np.float32)
    noise = (2.0 * rng.normal(size=(160, 4))).astype(np.float32)
    usual = usual_beta(40, has_text=True)
    assert choose_fusion(experts(prior=right, maf=noise), labels=labels, shots=40, has_text=True, seed=0).beta < 0.3
    assert choose_fusion(experts(prior=noise, maf=right), labels=labels, shots=40, has_text=True, seed=0).beta > 0.7
    equal = choose_fusion(experts(prior=right, maf=right), labels=labels, shots=40, has_text=True, seed=0)
    assert abs(equal.beta - usual) <= 0.1, "a step of the grid"


def test_beta_zero_without_corrections_is_the_prior_itself() -> None:
    rng = np.random.default_rng(0)
    prior, maf = (rng.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    nothing = Fusion(beta=0.0, correction_weight=0.0, residual_weight=0.0, maf_scale=2.0)
    assert nothing.is_prior
    np.testing.assert_array_equal(nothing.apply(experts(prior=prior, maf=maf)), prior)
