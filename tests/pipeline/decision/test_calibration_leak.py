"""Temperature and thresholds from the rows a head was fitted on are a lie; out-of-fold rows are not."""

from __future__ import annotations

import numpy as np

from pipeline.decision import HeldOut, class_mix, fit_thresholds
from pipeline.decision.probabilities import softmax
from pipeline.evaluation.metrics import expected_calibration_error
from pipeline.heads.calibration import fit_temperature
from pipeline.heads.fit import LabelledFeatures
from pipeline.heads.folds import make_folds
from pipeline.heads.simple.linear import fit_linear
from pipeline.types import Features
from tests.pipeline.decision.making_decisions import money
from tests.pipeline.heads.making_heads import World

SEEDS = range(4)


def rows(support: LabelledFeatures, taken: np.ndarray) -> LabelledFeatures:
    features = Features(image=support.features.image[taken])
    return LabelledFeatures(features, support.labels[taken], support.groups[taken], support.classes)


def logits_of(support: LabelledFeatures, features: Features) -> np.ndarray:
    given = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    return fit_linear(support.features, **given).score(features).logits


def held_out(support: LabelledFeatures) -> HeldOut:
    folds = make_folds(support.labels, groups=support.groups, n_classes=len(support.classes), seed=0)
    logits = np.zeros((support.labels.size, len(support.classes)), np.float32)
    for fold in range(folds.n_folds):
        out = folds.held_out(fold)
        logits[out] = logits_of(rows(support, folds.kept(fold)), Features(image=support.features.image[out]))
    return HeldOut(logits, support.labels)


def worlds() -> list[tuple[LabelledFeatures, LabelledFeatures]]:
    made = [World(noise=0.8, seed=seed, levels=False) for seed in SEEDS]
    return [(world.draw(12, seed=50 + i), world.draw(300, seed=90 + i)) for i, world in enumerate(made)]


def test_out_of_fold_temperature_is_better_calibrated_on_fresh_parts_than_a_leaky_one() -> None:
    for support, fresh in worlds():
        live = logits_of(support, fresh.features)
        honest = fit_temperature(held_out(support).logits, labels=support.labels)
        leaky = fit_temperature(logits_of(support, support.features), labels=support.labels)
        errors = [expected_calibration_error(live, labels=fresh.labels, temperature=t) for t in (honest, leaky)]
        assert leaky < honest
        assert errors[0] < errors[1]


def test_leaky_rows_hide_the_errors_that_thresholds_live_on() -> None:
    for support, _ in worlds():
        costs = money(classes=("ok", *support.classes[1:]))
        mix = class_mix(support.classes, labels=support.labels)
        honest, leaky = held_out(support).logits, logits_of(support, support.features)
        wrong = [
            sum(one.n_wrong for one in fit_thresholds(softmax(z), labels=support.labels, costs=costs, mix=mix))
            for z in (honest, leaky)
        ]
        assert wrong[1] < wrong[0]
