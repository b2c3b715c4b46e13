"""Logistic regression: the optimum an independent implementation finds."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipeline.heads.simple.linear import INVERSE_PENALTY, fit_linear
from tests.pipeline.heads.making_heads import World
from tests.pipeline.heads.making_strong import reloaded, strong


def test_finds_the_optimum_that_scikit_learn_finds() -> None:
    world = World(seed=3, levels=False)
    support, queries = world.draw(5), world.draw(20, seed=2)
    head = fit_linear(support.features, labels=support.labels, groups=support.groups, classes=support.classes)
    oracle = LogisticRegression(C=INVERSE_PENALTY, max_iter=5000, tol=1e-8)
    oracle.fit(support.features.image, support.labels)
    expected = oracle.predict_log_proba(queries.features.image)
    ours = head.score(queries.features).logits.astype(np.float64)
    ours -= np.log(np.exp(ours).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, expected, atol=0.05)


def test_texts_change_nothing_but_what_is_shown_as_zero_shot() -> None:
    world = World(seed=3, levels=False)
    support, queries = world.draw(4), world.draw(5, seed=2).features
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    with_text = fit_linear(support.features, **known, text=world.text).score(queries)
    without = fit_linear(support.features, **known).score(queries)
    np.testing.assert_allclose(with_text.logits, without.logits, atol=1e-4)
    np.testing.assert_allclose(with_text.zero_shot, world.text.score(queries).logits, atol=1e-5)


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    head, queries = strong("linear")
    np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
