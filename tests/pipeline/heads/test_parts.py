"""Folds, temperature, novelty, prototypes, intervals: the small parts of a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.heads.calibration import fit_temperature, log_softmax, negative_log_likelihood, temperature_of_confidence
from pipeline.heads.deconfusion.inference import FrozenNetwork
from pipeline.heads.deconfusion.maf import PooledMaf, fuse_weights
from pipeline.heads.deconfusion.network import DeconfusionNetwork, NetworkShape
from pipeline.heads.folds import make_folds, shots_per_class
from pipeline.heads.novelty import fit_novelty
from pipeline.heads.optimise import AdamW, lbfgs
from pipeline.heads.report import Accuracy, confused_pairs
from pipeline.heads.simple.prototype import fit_prototypes, leave_one_out_cosines
from pipeline.heads.simple.zero_shot import unit_rows
from tests.pipeline.heads.making_heads import D, World


def test_views_of_one_image_never_fall_on_both_sides_of_a_fold() -> None:
    labels = np.repeat(np.arange(3), 12).astype(np.int64)
    groups = np.arange(36).astype(np.int64) // 3
    folds = make_folds(labels, groups=groups, n_classes=3, seed=0)
    assert folds.kind == "4-fold"
    for fold in range(folds.n_folds):
        assert not set(groups[folds.held_out(fold)]) & set(groups[folds.kept(fold)])


def test_every_fold_keeps_every_class_and_every_image_is_held_out_once() -> None:
    labels = np.repeat(np.arange(5), 6).astype(np.int64)
    folds = make_folds(labels, groups=np.arange(30), n_classes=5, seed=1)
    assert np.bincount(folds.fold_of).sum() == 30
    for fold in range(4):
        assert set(labels[folds.kept(fold)]) == set(range(5))


def test_folds_repeat_for_a_seed_and_differ_between_seeds() -> None:
    labels = np.repeat(np.arange(5), 8).astype(np.int64)
    a, b, c = (make_folds(labels, groups=np.arange(40), n_classes=5, seed=s).fold_of for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_shots_count_source_images() -> None:
    labels, groups = np.asarray([0, 0, 0, 1]), np.asarray([7, 7, 8, 9])
    np.testing.assert_array_equal(shots_per_class(labels, groups=groups, n_classes=2), [2, 1])


def test_temperature_undoes_a_known_scale_when_there_are_many_rows() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)).astype(np.float32) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.asarray([rng.choice(5, p=row) for row in p.astype(np.float64) / p.astype(np.float64).sum(1)[:, None]])
    assert fit_temperature(logits * 3, labels=labels) == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("confidence", [0.4, 0.9])
def test_rows_without_labels_can_be_given_a_mean_confidence(confidence: float) -> None:
    logits = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32) * 30.0
    t = temperature_of_confidence(logits, confidence=confidence)
    assert np.exp(log_softmax(logits / np.float32(t)).max(axis=1)).mean() == pytest.approx(confidence, abs=1e-3)


def test_the_prior_holds_the_temperature_when_there_are_few_rows() -> None:
    logits = 30.0 * np.eye(3, dtype=np.float32)
    labels = np.arange(3)
    assert 0.5 < fit_temperature(logits, labels=labels) < 1.5  # the likelihood alone would go to zero
    assert negative_log_likelihood(logits, labels=labels) < 1e-6


def test_prototypes_of_a_row_leave_out_all_views_of_its_image() -> None:
    rng = np.random.default_rng(0)
    image = unit_rows(rng.normal(size=(8, D)).astype(np.float32))
    labels, groups = np.repeat([0, 1], 4).astype(np.int64), np.asarray([0, 0, 1, 1, 2, 2, 3, 3])
    cosines, possible = leave_one_out_cosines(image, labels=labels, groups=groups, n_classes=2)
    assert possible.all()
    centred = image - image.mean(axis=0)
    own = centred[2:4].mean(axis=0)
    expected = centred[0] @ own / np.linalg.norm(centred[0]) / np.linalg.norm(own)
    assert cosines[0, 0] == pytest.approx(expected, abs=1e-5)


def test_prototype_logits_of_the_support_set_are_no_better_than_on_new_images() -> None:
    world = World(levels=False, noise=0.8)
    support, test = world.draw(8), world.draw(200, seed=5)
    head, held_out = fit_prototypes(
        support.features.image, labels=support.labels, groups=support.groups, classes=world.classes
    )
    on_support = float((held_out.argmax(axis=1) == support.labels).mean())
    on_new = float((head.score(test.features).logits.argmax(axis=1) == test.labels).mean())
    assert abs(on_support - on_new) < 0.12


def test_novelty_is_above_one_for_another_class_and_below_for_known_ones() -> None:
    world = World(n_classes=8, levels=False, noise=0.2)
    support, test = world.draw(12), world.draw(50, seed=3)
    known = support.labels < 7
    labels = support.labels[known]
    folds = make_folds(labels, groups=np.arange(labels.size), n_classes=7, seed=0)
    model = fit_novelty(support.features.image[known], labels=labels, n_classes=7, folds=folds).model
    assert model is not None
    score = model.score(test.features.image)
    assert (score[test.labels < 7] > 1).mean() < 0.05
    assert (score[test.labels == 7] > 1).mean() > 0.9


def test_novelty_counts_directions_that_no_support_image_ever_showed() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((12, D), np.float32)
    image[:, :4] = rng.normal(size=(12, 4))
    labels = np.repeat([0, 1], 6).astype(np.int64)
    folds = make_folds(labels, groups=np.arange(12), n_classes=2, seed=0)
    model = fit_novelty(image, labels=labels, n_classes=2, folds=folds).model
    assert model is not None
    odd = image[:1].copy()
    odd[0, 20] = 10.0
    assert model.score(odd)[0] > 2 * model.score(image).max()


def test_wilson_interval_equals_the_known_value() -> None:
    low, high = Accuracy(n_right=120, n=150).interval
    assert (low, high) == pytest.approx((0.729, 0.856), abs=1e-3)
    assert Accuracy(n_right=0, n=0).interval == (0.0, 1.0)


def test_confused_pairs_come_most_frequent_first() -> None:
    labels = np.asarray([0, 0, 0, 1, 1])
    logits = np.eye(2, dtype=np.float32)[[1, 1, 0, 0, 1]]
    first, second = confused_pairs(logits, labels=labels, classes=("a", "b"))
    assert (first.truth, first.predicted, first.count, first.n_truth) == ("a", "b", 2, 3)
    assert (second.truth, second.count) == ("b", 1)


def test_fuse_weights_are_the_published_ones_for_four_levels() -> None:
    assert fuse_weights(4) == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert sum(fuse_weights(3)) == pytest.approx(1.0)


def test_pooled_maf_equals_the_token_form_where_all_tokens_are_equal() -> None:
    torch.manual_seed(0)
    maf = PooledMaf(level_dims=(6, 8), embedding_dim=5)
    levels = (torch.randn(3, 6), torch.randn(3, 8))
    tokens = [level[:, None, :].expand(-1, 7, -1) for level in levels]
    exact = sum(w * m(x).mean(dim=1) for w, m, x in zip(maf.weights, maf.levels, tokens, strict=True))
    torch.testing.assert_close(maf(levels).feature, exact)


def small_network() -> DeconfusionNetwork:
    torch.manual_seed(0)
    shape = NetworkShape(n_classes=5, embedding_dim=D, level_dims=(6, 8), image_rank=7, level_rank=4)
    network = DeconfusionNetwork(shape)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.randn_like(tensor).abs() + 0.1)
    return network


def test_one_row_in_training_mode_comes_out_as_it_does_among_others() -> None:
    network = small_network().train()
    image, levels, prior = torch.randn(9, D), torch.randn(9, 14), torch.randn(9, 5)
    many, one = network(image, levels, prior), network(image[:1], levels[:1], prior[:1])
    for name in ("prior", "correction", "maf", "maf_residual"):
        torch.testing.assert_close(getattr(one, name), getattr(many, name)[:1], atol=1e-4, rtol=1e-4)


def test_the_numpy_form_gives_the_numbers_of_the_torch_modules() -> None:
    network = small_network().eval()
    image, levels, prior = torch.randn(9, D), torch.randn(9, 14), torch.randn(9, 5)
    theirs = network(image, levels, prior)
    ours = FrozenNetwork(network).experts(image.numpy(), levels=levels.numpy(), prior=prior.numpy())
    for name in ("prior", "correction", "maf", "maf_residual"):
        expected = getattr(theirs, name).detach().numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-3, rtol=1e-4, err_msg=name)


def test_parts_without_weight_are_zero_and_leave_the_others_alone() -> None:
    network = FrozenNetwork(small_network().eval())
    rng = np.random.default_rng(0)
    image, levels, prior = (rng.normal(size=(3, n)).astype(np.float32) for n in (D, 14, 5))
    whole = network.experts(image, levels=levels, prior=prior)
    part = network.experts(image, levels=levels, prior=prior, residual=False)
    np.testing.assert_array_equal(part.correction, whole.correction)
    assert not part.maf_residual.any()


def test_our_lbfgs_finds_the_minimum_of_a_badly_scaled_quadratic() -> None:
    scale = torch.logspace(0, 3, 12)
    target = torch.linspace(-1, 1, 12)
    found = lbfgs(lambda x: (scale * (x - target) ** 2).sum(), start=torch.zeros(12), max_iterations=200)
    torch.testing.assert_close(found, target, atol=1e-3, rtol=0)


def test_our_adamw_takes_the_steps_of_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    theirs.data.copy_(ours.data)
    mine = AdamW([ours], learning_rate=0.05, weight_decay=0.01, n_steps=20)
    reference = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=20)
    for _ in range(20):
        mine.step((ours**4).sum() + ours.sum())
        reference.zero_grad()
        ((theirs**4).sum() + theirs.sum()).backward()
        reference.step()
        schedule.step()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
