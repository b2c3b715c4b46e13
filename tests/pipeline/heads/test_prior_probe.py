"""The probe that starts at the prior: its start, its hold, and what a missing text is replaced by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.heads.mixed_prior import MixedPrior, fit_prior
from pipeline.heads.simple.prior_probe import fit_prior_probe
from pipeline.heads.simple.prototype import PrototypeHead
from tests.pipeline.heads.making_heads import World, accuracy_of
from tests.pipeline.heads.making_strong import reloaded, strong


def parts(world: World, *, shots: int) -> tuple:
    support = world.draw(shots)
    return support, {"labels": support.labels, "groups": support.groups, "classes": support.classes}


def test_beats_its_own_start() -> None:
    world = World(seed=4, levels=False)
    support, known = parts(world, shots=8)
    queries = world.draw(40, seed=2)
    head = fit_prior_probe(support.features, **known, text=world.text)
    scores = head.score(queries.features)
    assert accuracy_of(scores.logits, queries.labels) > accuracy_of(scores.zero_shot, queries.labels) + 0.05


def test_one_shot_is_held_closer_to_the_texts_than_eight() -> None:
    world = World(seed=4, levels=False)
    moved = []
    for shots in (1, 8):
        support, known = parts(world, shots=shots)
        moved.append(float(np.linalg.norm(fit_prior_probe(support.features, **known, text=world.text).weights)))
    assert moved[0] < moved[1]


def test_the_optimum_has_no_slope() -> None:
    world = World(seed=4, levels=False)
    support, known = parts(world, shots=3)
    head = fit_prior_probe(support.features, **known, text=world.text)
    scale = np.float64(world.text.scale)
    delta = head.weights.astype(np.float64) / scale
    x = support.features.image.astype(np.float64)
    logits = head.score(support.features).logits.astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(support.labels.size), support.labels] -= 1.0
    slope = scale * p.T @ x / support.labels.size + 2 * scale * delta / 3 / world.n_classes  # lambda = 1/K, K = 3
    assert np.abs(slope).max() < 2e-3


def test_without_texts_the_prior_is_the_image_prototype_left_out_for_its_own_row() -> None:
    world = World(seed=4, levels=False)
    support, known = parts(world, shots=4)
    prior, base = fit_prior(support.features.image, **known, text=None)
    assert isinstance(prior, PrototypeHead)
    kept = prior.score(support.features).logits
    own = np.arange(support.labels.size), support.labels
    assert (base[own] < kept[own]).all()  # a prototype that contains the row flatters it
    assert fit_prior_probe(support.features, **known).prior.name == "prototype"


def test_a_class_without_text_takes_its_image_prototype_on_the_texts_scale() -> None:
    world = World(seed=4, levels=False)
    support, known = parts(world, shots=6)
    prototypes = world.text.prototypes.copy()
    prototypes[1] = 0.0
    text = replace(world.text, prototypes=prototypes)
    queries = world.draw(40, seed=2)
    prior, _ = fit_prior(support.features.image, **known, text=text)
    assert isinstance(prior, MixedPrior)
    mixed = prior.score(queries.features).logits
    np.testing.assert_allclose(mixed[:, 0], world.text.score(queries.features).logits[:, 0], atol=1e-4)
    found = (mixed.argmax(axis=1) == 1)[queries.labels == 1].mean()
    stolen = (mixed.argmax(axis=1) == 1)[queries.labels != 1].mean()
    assert found > 0.35  # one of a look-alike pair; chance is .17
    assert stolen < 0.2
    probe = fit_prior_probe(support.features, **known, text=text)
    assert accuracy_of(probe.score(queries.features).logits, queries.labels) > accuracy_of(mixed, queries.labels)
    np.testing.assert_array_equal(reloaded(probe).score(queries.features).logits, probe.score(queries.features).logits)


def test_comes_back_bit_for_bit_from_its_tensors() -> None:
    for name in ("probe", "probe without texts"):
        head, queries = strong(name)
        np.testing.assert_array_equal(reloaded(head).score(queries).logits, head.score(queries).logits)
