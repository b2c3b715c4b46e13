"""Thresholds follow the money, and leave its rule only where held-out rows prove that it pays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.decision import (
    DecisionPolicy,
    Rule,
    as_policy,
    bayes_thresholds,
    class_mix,
    fit_thresholds,
    make_plan,
)
from pipeline.errors import ConfigError, DataError
from tests.pipeline.decision.making_decisions import CLASSES, calibrated, draw_labels, money

EVEN = np.full(3, 1 / 3)


def rows_of(*groups: tuple[int, int, float, int]) -> tuple[np.ndarray, np.ndarray]:
    """(label, decided, confidence, count) each; the rest of the probability is spread evenly."""
    probabilities, labels = [], []
    for label, decided, confidence, count in groups:
        row = np.full(3, (1 - confidence) / 2, np.float32)
        row[decided] = confidence
        probabilities += [row] * count
        labels += [label] * count
    return np.array(probabilities, np.float32), np.array(labels, np.int64)


def test_without_evidence_a_label_needs_what_makes_it_as_cheap_as_a_review() -> None:
    assert bayes_thresholds(money()) == pytest.approx([1 - 0.2 / 10, 0.8, 0.8])  # 1 - review / dearest error


def test_on_a_line_of_mostly_good_parts_the_rule_asks_less_of_the_good_label() -> None:
    got = bayes_thresholds(money(), ratio={"ok": 2.7, "scratch": 0.15, "dent": 0.15})
    assert got == pytest.approx(
        [0.15 * 9.8 / (0.15 * 9.8 + 2.7 * 0.2), 2.7 * 0.8 / (2.7 * 0.8 + 0.03), 0.9863], abs=1e-4
    )


def test_a_review_dearer_than_any_error_is_never_worth_it() -> None:
    assert bayes_thresholds(money(review=20.0)).tolist() == [0, 0, 0]


def test_few_rows_leave_the_rule_of_the_costs_alone_however_clean_they_are() -> None:
    given, labels = rows_of((0, 0, 0.9, 16), (1, 1, 0.7, 13), (2, 2, 0.7, 13))
    found = fit_thresholds(given, labels=labels, costs=money(), mix=EVEN)
    assert [one.value for one in found] == pytest.approx([0.98, 0.8, 0.8])
    assert as_policy(found) == {}
    assert "too little to move it" in found[0].reason


def test_enough_clean_rows_below_the_rule_let_the_threshold_sink_to_them() -> None:
    given, labels = rows_of((0, 0, 0.95, 148), (1, 1, 0.9, 20), (2, 2, 0.9, 20))
    kept = fit_thresholds(given, labels=labels, costs=money(), mix=class_mix(CLASSES, labels=labels))
    assert not kept[0].moved  # 148 clean rows bound the error share by 2.0 %, and 10 x 2.0 % is a review
    given, labels = rows_of((0, 0, 0.95, 149), (1, 1, 0.9, 20), (2, 2, 0.9, 20))
    sunk = fit_thresholds(given, labels=labels, costs=money(), mix=class_mix(CLASSES, labels=labels))
    assert as_policy(sunk) == {"ok": pytest.approx(0.95)}


def test_a_threshold_never_sinks_to_a_lonely_row_on_the_strength_of_others() -> None:
    given, labels = rows_of((0, 0, 0.95, 500), (0, 0, 0.5, 3), (1, 1, 0.9, 20), (2, 2, 0.9, 20))
    found = fit_thresholds(given, labels=labels, costs=money(), mix=class_mix(CLASSES, labels=labels))
    assert as_policy(found) == {"ok": pytest.approx(0.95)}


def test_errors_among_the_sure_raise_the_threshold_above_them_and_one_alone_does_not() -> None:
    clean = (0, 0, 0.999, 40)
    given, labels = rows_of(clean, (1, 0, 0.985, 1), (0, 0, 0.985, 15), (1, 1, 0.9, 20), (2, 2, 0.9, 20))
    assert not fit_thresholds(given, labels=labels, costs=money(), mix=class_mix(CLASSES, labels=labels))[0].moved
    given, labels = rows_of(clean, (1, 0, 0.985, 6), (0, 0, 0.985, 15), (1, 1, 0.9, 20), (2, 2, 0.9, 20))
    raised = fit_thresholds(given, labels=labels, costs=money(), mix=class_mix(CLASSES, labels=labels))[0]
    assert 0.985 < raised.value < 0.999
    assert (raised.n, raised.n_wrong) == (61, 6)


def money_per_1000(*, exponent: float, seed: int) -> tuple[float, float]:
    """By the rule of the costs alone, and with thresholds of 300 held-out rows; exponents above 1 overstate."""
    rng = np.random.default_rng(seed)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = draw_labels(n, mix=EVEN, rng=rng)
        p = calibrated(labels, mix=EVEN, spread=0.5, rng=rng) ** exponent
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), labels

    given, labels = draw(300)
    fitted = as_policy(fit_thresholds(given, labels=labels, costs=money(), mix=EVEN))
    fresh, truth = draw(20_000)

    def cost(thresholds: Mapping[str, float]) -> float:
        policy = DecisionPolicy(frozenset({"ok"}), costs=money(), thresholds=thresholds)
        codes = Rule(policy, classes=CLASSES).verdicts(fresh)
        return make_plan(fresh, codes=codes, labels=truth, costs=money(), mix=EVEN).cost.value

    return cost({}), cost(fitted)


def test_on_honest_probabilities_fitting_costs_next_to_nothing() -> None:
    rule, fitted = np.mean([money_per_1000(exponent=1.0, seed=seed) for seed in range(12)], axis=0)
    assert fitted < 1.02 * rule


def test_on_overconfident_probabilities_fitting_saves_money() -> None:
    rule, fitted = np.mean([money_per_1000(exponent=2.0, seed=seed) for seed in range(12)], axis=0)
    assert fitted < 0.9 * rule


def test_the_mix_of_the_line_weighs_the_rows() -> None:
    given, labels = rows_of((0, 0, 0.985, 60), (1, 0, 0.985, 6), (1, 1, 0.9, 54), (2, 2, 0.9, 60))
    even = fit_thresholds(given, labels=labels, costs=money(), mix=EVEN)[0]
    line = fit_thresholds(given, labels=labels, costs=money(), mix=np.array([0.98, 0.01, 0.01]))[0]
    assert (even.moved, line.moved) == (True, False)  # at 98 % good those six stand for .1 % of the parts


def test_a_mix_must_name_every_class_once_and_sum_to_one() -> None:
    labels = np.array([0, 0, 0, 1, 2], np.int64)
    assert class_mix(CLASSES, labels=labels) == pytest.approx([0.6, 0.2, 0.2])
    stated = class_mix(CLASSES, labels=labels, stated={"ok": 0.95, "scratch": 0.04, "dent": 0.01})
    assert stated == pytest.approx([0.95, 0.04, 0.01])
    typed = class_mix(CLASSES, labels=labels, stated={"ok": 0.33, "scratch": 0.33, "dent": 0.33})
    assert typed == pytest.approx([1 / 3] * 3)
    for wrong in ({"ok": 1.0}, {"ok": 0.9, "scratch": 0.3, "dent": 0.1}, {"ok": 1.1, "scratch": -0.1, "dent": 0.0}):
        with pytest.raises(ConfigError, match="one share per class"):
            class_mix(CLASSES, labels=labels, stated=wrong)


def test_rows_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match=r"expected probabilities \(1, 3\)"):
        fit_thresholds(np.ones((2, 3), np.float32), labels=np.zeros(1, np.int64), costs=money(), mix=EVEN)
