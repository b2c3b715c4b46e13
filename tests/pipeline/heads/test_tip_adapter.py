"""Tip-Adapter, training-free: the published formula."""

from __future__ import annotations

import numpy as np

from pipeline.heads.simple.tip_adapter import ALPHA, BETA, fit_tip_adapter
from tests.pipeline.heads.making_heads import World
from tests.pipeline.heads.making_strong import reloaded, strong


def test_adds_the_affinities_of_the_cache_to_the_text_logits() -> None:
    world = World(seed=6, levels=False)
    support, queries = world.draw(3), world.draw(4, seed=2).features
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    scores = fit_tip_adapter(support.features, **known, text=world.text).score(queries)
    affinity = np.exp(-BETA * (1 - queries.image @ support.features.image.T))
    votes = affinity @ np.eye(world.n_classes)[support.labels]
    expected = world.text.score(queries).logits + ALPHA * votes
    np.testing.assert_allclose(scores.logits, expected, atol=1e-4)


def test_without_texts_the_cache_votes_alone() -> None:
    world = World(seed=6, levels=False)
    support = world.draw(3)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    head = fit_tip_adapter(support.features, **known)
    assert (head.score(support.features).logits.argmax(axis=1) == support.labels).mean() > 0.9


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    head, queries = strong("tip")
    np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
