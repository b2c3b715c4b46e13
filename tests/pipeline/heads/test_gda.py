"""Gaussian discriminant analysis: the closed form, its ridge, its weight beside texts, its levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.heads.fitted import LabelledFeatures
from pipeline.heads.simple.gda import discriminant, fit_gda, spread
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.types import Features
from tests.pipeline.heads.making_heads import World, accuracy_of
from tests.pipeline.heads.making_strong import reloaded, strong


def test_equals_the_kubokawa_srivastava_formula_written_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8)).astype(np.float32)
    y = np.repeat(np.arange(4), 10)
    w, b = discriminant(x, labels=y, n_classes=4)
    means = np.stack([x[y == c].mean(axis=0) for c in range(4)]).astype(np.float64)
    z = x - means[y]
    within = z.T @ z / (40 - 4)
    precision = 8 * np.linalg.inv((40 - 1) * within + np.trace(within) * np.eye(8))
    expected = x @ (precision @ means.T) - 0.5 * np.einsum("cd,de,ce->c", means, precision, means)
    ours = x @ w.T + b
    difference = (ours - expected) - (ours - expected).mean(axis=1, keepdims=True)
    assert np.abs(difference).max() < 1e-3  # equal up to what all classes share


def test_beside_texts_it_counts_root_k_over_four_of_their_spread() -> None:
    world = World(seed=4, levels=False)
    support = world.draw(16)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    scores = fit_gda(support.features, **known, text=world.text).score(support.features)
    ratio = spread(scores.logits - scores.zero_shot) / spread(scores.zero_shot)
    assert 0.7 < ratio < 1.5  # sqrt(16) / 4, up to fitted rows against held-out ones


def test_levels_that_hold_more_than_the_embedding_help() -> None:
    world = World(seed=4, levels=True)
    support, queries = blurred(world.draw(8)), blurred(world.draw(40, seed=2))
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    head = fit_gda(support.features, **known)
    assert head.n_levels == 2
    without = fit_gda(Features(image=support.features.image), **known)
    with_levels = accuracy_of(head.score(queries.features).logits, queries.labels)
    assert with_levels > accuracy_of(without.score(queries.features).logits, queries.labels) + 0.1


def blurred(rows: LabelledFeatures) -> LabelledFeatures:
    """The embedding loses most of what the levels keep."""
    image = rows.features.image
    noise = np.random.default_rng(0).normal(size=image.shape) * 0.4
    return replace(rows, features=replace(rows.features, image=unit_rows((image + noise).astype(np.float32))))


def test_a_class_prior_moves_the_decision_towards_frequent_classes() -> None:
    world = World(seed=4, levels=False)
    support, queries = world.draw(4), world.draw(20, seed=2)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    log_prior = np.zeros(world.n_classes, np.float32)
    log_prior[2] = 50.0
    even = fit_gda(support.features, **known).score(queries.features).logits.argmax(axis=1)
    skewed = fit_gda(support.features, **known, log_prior=log_prior).score(queries.features).logits.argmax(axis=1)
    assert (skewed == 2).sum() > (even == 2).sum()


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    for name in ("gda", "gda with levels"):
        head, queries = strong(name)
        np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
