"""Rejects with limits, accuracy with bounds, expected cost: from what was delivered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.adaptation.drift.spc import clopper_pearson, laney_limits
from pipeline.decision import Decider, DecisionPolicy
from pipeline.decision.costs import CostMatrix
from pipeline.decision.decider import HeadIdentity
from pipeline.types import Decision, Prediction
from tests.making import make_prediction
from workers.quality import Quality, expected_cost

CLASSES = ("ok", "scratch")
PARTS = 10  # of a subgroup here
COSTS = CostMatrix.build(CLASSES, good_classes=["ok"], escape=10.0, overkill=1.0, mix_up=1.0, review=0.2)


def decider(*, costs: CostMatrix | None = None, version: int = 1) -> Decider:
    return Decider(
        classes=CLASSES,
        temperature=1.0,
        policy=DecisionPolicy(good_classes=frozenset({"ok"}), costs=costs),
        identity=HeadIdentity("demo", version, "ab", "demo_clip"),
    )


def decided(decision: Decision, *, truth: str | None = None, source: str = "cap-01") -> Prediction:
    return replace(make_prediction(truth=truth, source_id=source), decision=decision)


def subgroup(rejects: int, *, source: str = "cap-01") -> list[Prediction]:
    kinds = [Decision.REJECT] * rejects + [Decision.ACCEPT] * (PARTS - rejects)
    return [decided(kind, source=source) for kind in kinds]


def made() -> tuple[Quality, list[tuple[str, str, float]]]:
    told: list[tuple[str, str, float]] = []
    return Quality(on_cost=lambda *one: told.append(one), subgroup_parts=PARTS), told


def read(quality: Quality) -> dict[tuple[str, ...], float]:
    return {(one.name, *one.labels): one.value for one in quality.readings()}


def test_a_subgroup_is_shown_when_it_is_full() -> None:
    quality, _ = made()
    quality.add(subgroup(3)[:-1], decider=decider())
    assert read(quality) == {}
    quality.add([decided(Decision.ACCEPT)], decider=decider())
    assert read(quality) == {("spc_value_ratio", "cap-01"): 0.3}


def test_the_limits_are_laneys_over_the_subgroups_before_the_newest() -> None:
    quality, _ = made()
    earlier = [1, 2, 0, 3, 1, 2, 1, 2]
    for rejects in earlier:
        quality.add(subgroup(rejects), decider=decider())
    assert ("spc_limit_ratio", "cap-01", "high") not in read(quality)
    quality.add(subgroup(9), decider=decider())
    limits = laney_limits(earlier, inspected=[PARTS] * len(earlier))
    shown = read(quality)
    assert shown["spc_value_ratio", "cap-01"] == 0.9
    assert shown["spc_center_ratio", "cap-01"] == limits.centre
    assert shown["spc_limit_ratio", "cap-01", "low"] == limits.low[-1]
    assert shown["spc_limit_ratio", "cap-01", "high"] == limits.high[-1] < 0.9


def test_cameras_are_charted_apart() -> None:
    quality, _ = made()
    quality.add([*subgroup(1), *subgroup(5, source="cap-02")], decider=decider())
    assert read(quality) == {("spc_value_ratio", "cap-01"): 0.1, ("spc_value_ratio", "cap-02"): 0.5}


def test_known_truth_gives_the_accuracy_with_exact_bounds() -> None:
    quality, _ = made()
    quality.add([decided(Decision.REVIEW, truth=truth) for truth in ("ok", "ok", "scratch")], decider=decider())
    bounds = clopper_pearson(2, n=3)
    assert read(quality) == {
        ("accuracy_ratio", "cap-01", "lower"): bounds.low,
        ("accuracy_ratio", "cap-01", "point"): bounds.point,
        ("accuracy_ratio", "cap-01", "upper"): bounds.high,
    }


def test_without_truth_nothing_is_said_of_accuracy() -> None:
    quality, _ = made()
    quality.add(subgroup(2), decider=decider())
    assert {name for name, *_ in read(quality)} == {"spc_value_ratio"}


def test_a_decision_costs_what_its_side_costs_on_average_and_unknown_is_a_review() -> None:
    p = np.array([[0.9, 0.1]] * 4, np.float32)
    kinds = [Decision.ACCEPT, Decision.REJECT, Decision.REVIEW, Decision.UNKNOWN]
    assert expected_cost(p, decisions=kinds, costs=COSTS) == pytest.approx([0.1 * 10.0, 0.9 * 1.0, 0.2, 0.2])


def test_costs_are_told_per_camera_and_only_for_the_head_they_belong_to() -> None:
    quality, told = made()
    quality.add([decided(Decision.ACCEPT), decided(Decision.REVIEW, source="cap-02")], decider=decider(costs=COSTS))
    quality.add([decided(Decision.ACCEPT)], decider=decider(costs=COSTS, version=2))
    assert [(source, currency) for source, currency, _ in told] == [("cap-01", "EUR"), ("cap-02", "EUR")]
    assert [amount for _, _, amount in told] == pytest.approx([1.0, 0.2])


def test_without_costs_none_are_told() -> None:
    quality, told = made()
    quality.add([decided(Decision.ACCEPT)], decider=decider())
    assert told == []
