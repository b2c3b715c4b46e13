"""Kernel ridge on the prior's residual: the formula, the switch to a linear kernel."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from pipeline.heads.simple import kernel_ridge
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.kernel_ridge import BETA, GAIN, RIDGE, fit_kernel_ridge
from pipeline.heads.simple.zero_shot import unit_rows
from tests.pipeline.heads.making_heads import World, accuracy_of
from tests.pipeline.heads.making_strong import reloaded, strong


def test_without_texts_it_is_kernel_ridge_on_centred_one_hot_labels() -> None:
    world = World(seed=5, levels=False)
    support, queries = world.draw(4), world.draw(6, seed=2).features
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    ours = fit_kernel_ridge(support.features, **known).score(queries).logits
    centre = support.features.image.mean(axis=0)
    x, q = unit_rows(support.features.image - centre), unit_rows(queries.image - centre)
    target = GAIN * (np.eye(world.n_classes)[support.labels] - 1 / world.n_classes)
    oracle = KernelRidge(alpha=RIDGE, kernel="precomputed").fit(np.exp(BETA * (x @ x.T - 1)).astype(float), target)
    np.testing.assert_allclose(ours, oracle.predict(np.exp(BETA * (q @ x.T - 1)).astype(float)), atol=1e-2)


def test_with_texts_the_support_rows_only_correct_them() -> None:
    world = World(seed=5, levels=False)
    support, queries = world.draw(8), world.draw(40, seed=2)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    scores = fit_kernel_ridge(support.features, **known, text=world.text).score(queries.features)
    assert accuracy_of(scores.logits, queries.labels) > accuracy_of(scores.zero_shot, queries.labels)


def test_many_rows_make_the_kernel_linear_and_the_head_small(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(seed=5, levels=False)
    support, queries = world.draw(8), world.draw(40, seed=2)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    exact = fit_kernel_ridge(support.features, **known)
    monkeypatch.setattr(kernel_ridge, "MAX_SUPPORT", 10)
    linear = fit_kernel_ridge(support.features, **known)
    assert isinstance(linear, AffineHead)
    a, b = (accuracy_of(h.score(queries.features).logits, queries.labels) for h in (exact, linear))
    assert abs(a - b) < 0.08


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    head, queries = strong("kernel_ridge")
    np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
