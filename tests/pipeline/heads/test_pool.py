"""Unlabelled frames: they help where they cover the classes, and are left alone where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.heads.auto.pool import fit_discriminant, fit_pool_head
from pipeline.heads.auto.pool_choice import MIN_COVERAGE, PER_CLASS, choose_pool, novel, trust
from tests.pipeline.heads.making_heads import World, accuracy_of
from tests.pipeline.heads.making_strong import pool_of, reloaded, strong

WORLD = World(n_classes=10, seed=7, levels=False, noise=0.9)


def fit(pool: np.ndarray, *, shots: int = 1, seed: int = 1) -> tuple:
    support = WORLD.draw(shots, seed=seed)
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    return fit_pool_head(support.features, **known, pool=pool)


def accuracy(head: object) -> float:
    queries = WORLD.draw(40, seed=2)
    return accuracy_of(head.score(queries.features).logits, queries.labels)  # type: ignore[attr-defined]


def test_a_covering_pool_beats_the_same_head_without_one_at_one_shot() -> None:
    nothing = pool_of(WORLD)[:0]
    gains = [
        accuracy(fit(pool_of(WORLD, seed=20 + s), seed=s)[0]) - accuracy(fit(nothing, seed=s)[0]) for s in range(1, 6)
    ]
    assert np.mean(gains) > 0.02


@pytest.mark.parametrize("counts", [[20] * 2 + [0] * 8, [20] + [1] * 9])
def test_a_pool_of_few_classes_is_ignored_and_the_report_says_so(counts: list[int]) -> None:
    skewed = np.concatenate([WORLD.draw(20, seed=9).features.image[c * 20 : c * 20 + n] for c, n in enumerate(counts)])
    head, report = fit(skewed, shots=4)
    assert not report.used
    assert report.coverage < MIN_COVERAGE
    assert report.n_used == 0
    alone, _ = fit(skewed[:0], shots=4)
    np.testing.assert_array_equal(head.weights, alone.weights)


def test_the_order_of_the_chosen_rows_does_not_matter() -> None:
    pool, support = pool_of(WORLD), WORLD.draw(1, seed=1)
    shuffled = pool[np.random.default_rng(0).permutation(pool.shape[0])]
    queries = WORLD.draw(5, seed=2).features.image
    logits = []
    for rows in (pool, shuffled):
        weights, bias, centre = fit_discriminant(
            support.features.image, labels=support.labels, n_classes=10, pool=rows, texts=None
        )
        logits.append((queries - centre) @ weights.T + bias)
    np.testing.assert_allclose(*logits, atol=1e-2)


def test_rows_like_no_class_are_dropped_before_anything_is_learned() -> None:
    known, strange = World(n_classes=4, seed=7, levels=False, noise=0.2), World(n_classes=4, seed=70, levels=False)
    support = known.draw(8)
    marked = [
        novel(support.features.image, labels=support.labels, n_classes=4, pool=pool_of(w)).mean()
        for w in (known, strange)
    ]
    assert marked[0] < 0.05
    assert marked[1] > 0.2
    both = np.concatenate([pool_of(known), pool_of(strange)])
    choice = choose_pool(support.features.image, labels=support.labels, n_classes=4, pool=both)
    assert choice.n_novel == round((marked[0] + marked[1]) * pool_of(known).shape[0])
    assert choice.rows.size == both.shape[0] - choice.n_novel


@pytest.mark.parametrize(("counts", "most"), [([20, 20, 900, 20], 40), ([900] * 4, PER_CLASS)])
def test_a_frequent_class_keeps_rows_spread_over_the_whole_recording(counts: list[int], most: int) -> None:
    clear = World(n_classes=4, seed=7, levels=False, noise=0.2)
    support = clear.draw(8)
    first = sum(counts[:2])
    choice = choose_pool(
        support.features.image, labels=support.labels, n_classes=4, pool=pool_of(clear, per_class=counts)
    )
    chosen = choice.rows[(choice.rows >= first) & (choice.rows < first + 900)]
    assert most * 0.9 < chosen.size < most * 1.3
    assert np.histogram(chosen, bins=4)[0].min() > most / 8


def test_trust_grows_from_nothing_to_everything() -> None:
    assert (trust(0.7), trust(0.9)) == (0.0, 1.0)
    assert 0.0 < trust(0.8) < 1.0


def test_an_empty_pool_gives_the_gaussian_of_the_labelled_rows_with_means_on_few_rows_not_held_back() -> None:
    support = WORLD.draw([8] * 9 + [2])
    weights, bias, centre = fit_discriminant(
        support.features.image, labels=support.labels, n_classes=10, pool=support.features.image[:0], texts=None
    )
    queries = WORLD.draw(60, seed=2)
    predicted = ((queries.features.image - centre) @ weights.T + bias).argmax(axis=1)
    recall = [(predicted[queries.labels == c] == c).mean() for c in range(10)]
    assert recall[9] > min(recall[:9]) - 0.25


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    head, queries = strong("pool")
    np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
