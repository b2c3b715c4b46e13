"""What to expect per 1,000 parts, and how far that may be off."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import DecisionPolicy, Rule, make_plan
from pipeline.decision.policy import ACCEPT, REJECT, REVIEW, UNKNOWN
from pipeline.errors import DataError
from tests.pipeline.decision.making_decisions import CLASSES, calibrated, draw_labels, money

N_DRAWS = 120
LINE = np.array([0.9, 0.06, 0.04])
OK, SCRATCH, DENT = np.eye(3, dtype=np.float32)


def test_counts_become_parts_per_thousand_of_the_line_and_not_of_the_support_set() -> None:
    given = np.array([OK] * 8 + [SCRATCH, DENT] + [OK, SCRATCH] + [SCRATCH, DENT], np.float32)
    labels = np.array([0] * 10 + [1, 1] + [2, 2], np.int64)
    codes = np.array([ACCEPT] * 8 + [REJECT, UNKNOWN] + [ACCEPT, REVIEW] + [REJECT, REJECT], np.int8)
    plan = make_plan(given, codes=codes, labels=labels, costs=money(), mix=LINE)
    assert plan.escapes.value == pytest.approx(1000 * 0.06 / 2)
    assert plan.overkill.value == pytest.approx(1000 * 0.9 / 10)
    assert plan.mix_ups.value == pytest.approx(1000 * 0.04 / 2)
    assert plan.unknown.value == pytest.approx(1000 * 0.9 / 10)
    assert plan.reviews.value == pytest.approx(1000 * (0.9 / 10 + 0.06 / 2))
    assert plan.cost.value == pytest.approx(10 * 30 + 1 * 90 + 1 * 20 + 0.2 * 120)
    assert plan.currency == "EUR"


def test_no_escape_among_few_rows_does_not_read_as_no_escape() -> None:
    given, labels = np.repeat(np.eye(3, dtype=np.float32), 16, axis=0), np.repeat(np.arange(3), 16)
    codes = np.where(labels == 0, ACCEPT, REJECT).astype(np.int8)
    plan = make_plan(given, codes=codes, labels=labels, costs=money(), mix=LINE)
    assert plan.escapes.value == plan.escapes.low == 0.0
    assert plan.escapes.high > 10.0  # 16 clean rows leave up to 21 % of either defect
    assert plan.cost.high > 10 * plan.escapes.high


def test_a_class_that_was_never_seen_counts_at_its_worst_in_the_upper_limit() -> None:
    given, labels = np.array([OK, SCRATCH] * 200), np.array([0, 1] * 200, np.int64)
    codes = np.where(labels == 0, ACCEPT, REJECT).astype(np.int8)
    plan = make_plan(given, codes=codes, labels=labels, costs=money(), mix=LINE)
    assert plan.unseen == ("dent",)
    assert plan.escapes.high > 1000 * LINE[2]


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rule = Rule(DecisionPolicy(frozenset({"ok"}), costs=money()), classes=CLASSES)
    even = np.full(3, 1 / 3)

    def plan_of(n: int, seed: int):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(seed)
        labels = draw_labels(n, mix=even, rng=rng)
        given = calibrated(labels, mix=even, spread=0.45, rng=rng)
        return make_plan(given, codes=rule.verdicts(given), labels=labels, costs=money(), mix=LINE)

    truth, draws = plan_of(200_000, 999), [plan_of(120, seed) for seed in range(N_DRAWS)]
    for name in ("escapes", "overkill", "reviews", "cost"):
        true = getattr(truth, name).value
        held = np.mean([getattr(one, name).low <= true <= getattr(one, name).high for one in draws])
        assert held >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / N_DRAWS), name


def test_verdicts_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="expected 1 verdicts"):
        make_plan(OK[None], codes=np.zeros(2, np.int8), labels=np.zeros(1, np.int64), costs=money(), mix=LINE)
