"""The figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import CostMatrix
from pipeline.decision.held_out import HeldOut
from pipeline.evaluation.metrics import Accuracy
from pipeline.evaluation.report.comparison import (
    Paired,
    compare,
    counted,
    images_needed,
    smallest_difference,
)
from pipeline.evaluation.report.damage import by_label, damage_of, stated_costs, without_reviews
from pipeline.evaluation.report.per_class import at_target, class_needs
from pipeline.evaluation.report.reliability import reliability
from pipeline.evaluation.report.verdict import verdict

CLASSES = ("ok", "dent", "scratch")
COSTS = CostMatrix.build(CLASSES, good_classes={"ok"}, escape=100.0, overkill=5.0, mix_up=2.0, review=1.0)


def logits(labels: list[int], *, height: float = 4.0) -> np.ndarray:
    return (height * np.eye(3)[labels]).astype(np.float32)


def test_a_count_of_none_still_has_an_upper_limit() -> None:
    none = counted(0, n=10)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert counted(0, n=0).value is None


def test_the_paired_gain_has_the_interval_of_agresti_and_min() -> None:
    gain = Paired(only_before=1, only_after=15, n=61, p_value=0.0)
    assert gain.value == pytest.approx(14 / 61)
    half = 1.959964 * ((17 / 63 - (14 / 63) ** 2) / 63) ** 0.5
    assert gain.interval == pytest.approx((14 / 63 - half, 14 / 63 + half))


def test_the_smallest_difference_solves_the_power_equation() -> None:
    needed = (1.959964 * 0.2**0.5 + 0.841621 * (0.2 - 0.01) ** 0.5) ** 2 / 0.01  # 154.6 images for 0.1
    assert smallest_difference(155, changed=0.2) == pytest.approx(0.1, abs=2e-4)
    assert 154 < needed < 155
    best = smallest_difference(61)
    assert best is not None
    assert (1.959964 + 0.841621 * (1 - best) ** 0.5) ** 2 / best == pytest.approx(61)
    assert smallest_difference(3) is None


def test_before_and_after_are_counted_on_the_same_rows() -> None:
    truth = np.array([0, 0, 1, 2])
    found = compare(logits([1, 0, 1, 0]), after=logits([0, 0, 1, 1]), labels=truth)
    assert (found.before.n_right, found.after.n_right) == (2, 3)
    assert (found.gain.only_before, found.gain.only_after) == (0, 1)
    assert found.matrix_after.tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_escapes_overkill_and_cost_follow_the_line_s_mix() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = logits([0, 0, 0, 1, 0, 1, 1, 2])  # one overkill, one escape, one mix-up
    codes, mix = by_label(scores, costs=COSTS), np.array([0.9, 0.06, 0.04])
    damage = damage_of("after", probabilities=scores, codes=codes, labels=truth, costs=COSTS, mix=mix)
    assert (damage.escapes.k, damage.escapes.n) == (1, 4)
    assert (damage.overkill.k, damage.overkill.n) == (1, 4)
    assert damage.plan.escapes.value == pytest.approx(1000 * 0.06 / 2)
    assert damage.plan.overkill.value == pytest.approx(1000 * 0.9 / 4)
    assert damage.plan.mix_ups.value == pytest.approx(1000 * 0.04 / 2)
    assert damage.plan.cost.value == pytest.approx(30 * 100 + 225 * 5 + 20 * 2)


def test_costs_are_told_by_kind() -> None:
    told = stated_costs(COSTS)
    assert (told.escape, told.overkill, told.mix_up, told.review) == ((100, 100), (5, 5), (2, 2), (1, 1))
    assert without_reviews(COSTS).array[:, -1].tolist() == [0, 0, 0]


def test_the_threshold_is_the_lowest_that_meets_the_target() -> None:
    confidence, right = np.array([0.6, 0.9, 0.7, 0.8]), np.array([True, True, False, True])
    sealed = (np.array([0.85, 0.5]), np.array([True, False]))
    strict = at_target((confidence, right), sealed=sealed, target=0.9)
    assert strict.threshold == pytest.approx(0.8)
    assert (strict.kept.k, strict.kept.n) == (2, 4)
    assert (strict.sealed.k, strict.sealed.n) == (1, 1)
    assert at_target((confidence, right), sealed=sealed, target=0.75).threshold == 0.0
    assert at_target((confidence, ~right), sealed=sealed, target=0.9).threshold is None


def test_equal_confidences_are_kept_or_reviewed_together() -> None:
    confidence, right = np.array([0.9, 0.9, 0.8]), np.array([True, False, True])
    assert at_target((confidence, right), sealed=(confidence, right), target=0.9).threshold is None


def test_labels_go_where_misses_or_doubts_are_many() -> None:
    truth = np.array([0] * 20 + [1] * 20 + [2] * 4)
    called = truth.copy()
    called[20:25] = 2  # five dents called scratches
    needs = class_needs(
        HeldOut(logits=logits(called.tolist()), labels=truth), shots=np.array([20, 20, 4]), classes=CLASSES, n_more=100
    )
    assert [one.name for one in needs] == ["scratch", "dent", "ok"]
    assert sum(one.suggested for one in needs) == 100
    assert (needs[1].mistaken_for, needs[1].missed.k) == ("scratch", 5)


def test_reliability_puts_rows_into_the_bins_of_their_confidence() -> None:
    scores = np.concatenate([logits([0, 0, 0], height=9.0), logits([1], height=0.5)])
    found = reliability(scores, labels=np.array([0, 0, 1, 1]), temperature=1.0)
    assert [one.accuracy.n for one in found.bins] == [1, 3]
    assert found.bins[1].accuracy.n_right == 2
    low = np.exp(0.5) / (np.exp(0.5) + 2)
    high = np.exp(9) / (np.exp(9) + 2)
    assert found.error == pytest.approx((abs(1 - low) + abs(2 - 3 * high)) / 4, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "n", "gain", "reason"),
    [
        (98, 100, Paired(0, 20, 100, 0.0), "ready"),
        (58, 60, Paired(0, 20, 60, 0.0), "too_few"),
        (50, 60, Paired(0, 20, 60, 0.0), "too_low"),
        (98, 100, Paired(30, 1, 100, 0.0), "worse"),
    ],
)
def test_the_verdict_asks_the_interval_not_the_value(right: int, n: int, gain: Paired, reason: str) -> None:
    assert verdict(Accuracy(right, n), gain=gain, least=0.9).reason == reason


def test_images_needed_reach_the_limit_and_fewer_do_not() -> None:
    needed = images_needed(Accuracy(59, 61), least=0.9)
    assert needed is not None
    assert Accuracy(int(needed * 59 / 61), needed).interval[0] >= 0.9
    assert Accuracy(59, 61).interval[0] < 0.9
    assert images_needed(Accuracy(50, 61), least=0.9) is None
