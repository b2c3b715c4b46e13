"""One verdict per row: costs decide, thresholds and limits only ever add reviews, unknown comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.decision import VERDICTS, CostMatrix, DecisionPolicy, Rule, line_ratio, make_plan
from pipeline.errors import ConfigError
from pipeline.types import Decision
from tests.pipeline.decision.making_decisions import CLASSES, calibrated, draw_labels, money

EVEN = np.full(3, 1 / 3)
PLAIN = DecisionPolicy(frozenset({"ok"}))
COSTLY = replace(PLAIN, costs=money())
ACCEPT, REJECT, REVIEW, UNKNOWN = Decision.ACCEPT, Decision.REJECT, Decision.REVIEW, Decision.UNKNOWN


def verdicts(policy: DecisionPolicy, *rows: list[float], **given: list[float]) -> list[Decision]:
    extra = {name: np.array(values, np.float32) for name, values in given.items()}
    return [VERDICTS[code] for code in Rule(policy, classes=CLASSES).verdicts(np.array(rows, np.float32), **extra)]


def test_a_review_is_taken_where_it_is_cheaper_than_the_best_label() -> None:
    rows = [[0.99, 0.01, 0.0], [0.97, 0.03, 0.0], [0.1, 0.9, 0.0], [0.0, 0.6, 0.4]]
    assert verdicts(COSTLY, *rows) == [ACCEPT, REVIEW, REJECT, REVIEW]


def test_the_expected_cost_of_random_rows_is_never_beaten_by_another_decision() -> None:
    rng = np.random.default_rng(0)
    given = calibrated(draw_labels(500, mix=EVEN, rng=rng), mix=EVEN, spread=0.6, rng=rng)
    cost = money().expected(given)
    taken = np.stack([cost[:, 0], cost[:, 1:3].min(axis=1), cost[:, 3]], axis=1)
    codes = Rule(COSTLY, classes=CLASSES).verdicts(given)
    assert taken[np.arange(500), codes] == pytest.approx(taken.min(axis=1), abs=1e-6)


def test_with_costs_review_below_says_nothing() -> None:
    assert verdicts(replace(COSTLY, review_below=1.0), [0.999, 0.001, 0.0]) == [ACCEPT]


def test_a_class_with_a_threshold_of_its_own_follows_that_and_not_the_expected_cost() -> None:
    own = replace(COSTLY, thresholds={"ok": 0.9})
    assert verdicts(own, [0.95, 0.05, 0.0], [0.85, 0.15, 0.0], [0.0, 0.6, 0.4]) == [ACCEPT, REVIEW, REVIEW]


def test_an_accept_needs_the_certified_probability_of_being_good_and_a_reject_does_not() -> None:
    certified = replace(PLAIN, accept_at_least=0.95)
    assert verdicts(certified, [0.96, 0.04, 0.0], [0.94, 0.06, 0.0], [0.3, 0.7, 0.0]) == [ACCEPT, REVIEW, REJECT]


def test_all_good_classes_together_make_a_part_good() -> None:
    both = DecisionPolicy(frozenset({"ok", "scratch"}), accept_at_least=0.95)
    assert verdicts(both, [0.5, 0.46, 0.04], [0.5, 0.44, 0.06]) == [ACCEPT, REVIEW]


def test_a_set_of_two_labels_or_of_none_goes_to_a_person() -> None:
    sets = replace(PLAIN, review_below=0.0, set_limits={"ok": 0.6, "scratch": 0.2, "dent": 0.2})
    rows = [[0.7, 0.15, 0.15], [0.7, 0.25, 0.05], [0.55, 0.19, 0.19]]
    assert verdicts(sets, *rows) == [ACCEPT, REVIEW, REVIEW]


def test_unknown_by_either_score_comes_before_everything_else() -> None:
    policy = replace(COSTLY, unknown_novelty=1.2, unknown_text_margin=4.0)
    rows = [[1.0, 0.0, 0.0]] * 4
    got = verdicts(policy, *rows, novelty=[1.3, 1.1, 1.1, 1.3], text_margin=[5.0, 3.0, 5.0, 3.0])
    assert got == [UNKNOWN, UNKNOWN, ACCEPT, UNKNOWN]


def test_costs_see_the_mix_of_the_line_where_it_is_given_and_the_label_does_not() -> None:
    ratio = {"ok": 2.7, "scratch": 0.15, "dent": 0.15}
    row = [0.6, 0.3, 0.1]  # on the line .964, .027, .009: an escape costs .36 on average, a review .2
    assert verdicts(replace(COSTLY, line_ratio=ratio), row, [0.8, 0.1, 0.1]) == [REVIEW, ACCEPT]
    assert verdicts(COSTLY, row, [0.8, 0.1, 0.1]) == [REVIEW, REVIEW]


def test_on_a_line_of_mostly_good_parts_a_true_mix_saves_money() -> None:
    rng, line = np.random.default_rng(1), np.array([0.94, 0.03, 0.03])
    labels = draw_labels(20_000, mix=line, rng=rng)
    given = calibrated(labels, mix=EVEN, spread=0.5, rng=rng)
    ratio = line_ratio(CLASSES, labels=np.arange(3), mix=line)
    cost = []
    for policy in (COSTLY, replace(COSTLY, line_ratio=ratio)):
        codes = Rule(policy, classes=CLASSES).verdicts(given)
        cost.append(make_plan(given, codes=codes, labels=labels, costs=money(), mix=line).cost.value)
    assert cost[1] < 0.7 * cost[0]


def test_costs_for_other_classes_than_the_head_has_are_refused() -> None:
    other = CostMatrix.build(("ok", "dent"), good_classes={"ok"}, escape=1, overkill=1, mix_up=1, review=1)
    with pytest.raises(ConfigError, match="expected the head's classes"):
        Rule(replace(PLAIN, costs=other), classes=CLASSES)
    with pytest.raises(ConfigError, match="got ok"):
        Rule(replace(COSTLY, good_classes=frozenset({"dent"})), classes=CLASSES)
