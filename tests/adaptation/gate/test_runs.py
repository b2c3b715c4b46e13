"""Whole gate runs on synthetic lines: T12 and T13 of the drift notes at CI size; `gate_table` has them full size."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.gate.values import GateDecision
from tests.adaptation.gate.cases import COSTS, POISONS, make_case, teach
from tests.adaptation.gate.trials import Trial, judge


def trial(seed: int, *, scenario: str, how: str, margin: bool = False) -> Trial:
    case = make_case(seed, scenario=scenario)
    return judge(case, challenger=teach(case, how=how, margin=margin).head, n_frames=6000)


def test_the_accuracy_gate_would_promote_where_escapes_rise_and_the_cost_gate_refuses() -> None:
    """T12: a stronger light, 64 honest labels; more parts are right, and twice as many defects pass."""
    run = trial(1, scenario="light", how="honest")
    assert run.challenger_escape > 1.5 * run.champion_escape
    assert run.accuracy_gate_promotes
    assert not run.promoted
    assert run.report.log_e_cost < 0, "the costs alone speak against it, without the bound on escapes"


def test_a_defect_that_changed_its_look_is_learned_and_promoted() -> None:
    run = trial(0, scenario="defect look", how="honest")
    assert run.report.decision is GateDecision.PROMOTE
    assert run.challenger_cost < 0.6 * run.champion_cost
    assert run.report.labelled <= 300


@pytest.mark.parametrize(("how", "margin"), [*((one, False) for one in POISONS), ("all ok", True)])
@pytest.mark.parametrize("scenario", ["none", "blur"])
def test_with_screens_off_no_poisoned_head_that_costs_more_is_promoted(how: str, margin: bool, scenario: str) -> None:
    """T13 without its first line of defence."""
    run = trial(2, scenario=scenario, how=how, margin=margin)
    assert not (run.promoted and run.challenger_cost > 1.02 * run.champion_cost)


def test_a_costs_view_that_prices_escapes_like_overkill_would_have_let_t12_through() -> None:
    """The price is what refuses: said here so that nobody lowers it unknowingly."""
    case = make_case(1, scenario="light")
    plain = np.where(COSTS.values == 10.0, 1.0, COSTS.values)
    head = teach(case, how="honest").head
    frames = case.pool
    before, after = case.champion.decide(frames.x), head.decide(frames.x)
    saved = (plain[frames.truth, before] - plain[frames.truth, after]).mean()
    spent = (COSTS.values[frames.truth, before] - COSTS.values[frames.truth, after]).mean()
    assert saved > 0 > spent
