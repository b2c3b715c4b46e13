"""Every arrow of the state machine, and what must hold on every path through it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pipeline.adaptation.gate.probation import Verdict
from pipeline.adaptation.gate.values import GateDecision
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.effects import (
    Alert,
    Announce,
    AskLabels,
    Effect,
    Ignored,
    MovePointer,
    OpenGate,
    SetSafePolicy,
    StartReference,
    WatchProbation,
)
from pipeline.adaptation.lifecycle.machine import cooldown_s, resume, step
from pipeline.adaptation.lifecycle.states import LifecycleSettings, RunState, State
from tests.adaptation.lifecycle.driving import FIRST, next_event

RUN = "cam-1-1"
DAY_S = 86_400.0


def after(*happened: ev.Event, state: RunState = FIRST, settings: LifecycleSettings | None = None) -> RunState:
    for event in happened:
        state, _ = step(state, event, settings=settings or LifecycleSettings())
    return state


def labelling() -> RunState:
    return after(ev.ReferenceReady(1), ev.Warned(2), ev.Alarmed(3, "blur"), ev.Diagnosed(4, ev.Diagnosis.DRIFT))


def gating() -> RunState:
    return after(ev.LabelsReady(5, RUN), ev.CandidateBuilt(6, RUN, 2, True), state=labelling())


def approval() -> RunState:
    return after(ev.GateDecided(7, RUN, GateDecision.PROMOTE, "proven"), state=gating())


def on_probation() -> RunState:
    return after(ev.ApprovalAnswered(8, RUN, True, "ann"), state=approval())


def rolled_back() -> RunState:
    return after(ev.ProbationJudged(9, RUN, Verdict.ROLL_BACK, "worse"), state=on_probation())


def kinds(effects: tuple[Effect, ...]) -> set[type[Effect]]:
    return {type(effect) for effect in effects}


def test_a_whole_run_ends_with_the_new_head_confirmed() -> None:
    probation = on_probation()
    assert (probation.state, probation.champion, probation.previous) == (State.PROBATION, 2, 1)
    done, effects = step(probation, ev.ProbationJudged(9, RUN, Verdict.CONFIRM, "clean"))
    assert (done.state, done.champion, done.run, done.on_probation) == (State.MONITORING, 2, None, False)
    assert StartReference("cam-1", 2) in effects
    assert SetSafePolicy("cam-1", False) in effects


def test_the_pointer_moves_to_the_candidate_and_back() -> None:
    _, forth = step(approval(), ev.ApprovalAnswered(8, RUN, True, "ann"))
    assert MovePointer("cam-1", 2) in forth
    assert WatchProbation(RUN, 2, 1) in forth
    back, effects = step(on_probation(), ev.ProbationJudged(9, RUN, Verdict.ROLL_BACK, "worse"))
    assert MovePointer("cam-1", 1) in effects
    assert Alert("cam-1", "critical", "worse") in effects
    rested = after(ev.PointerMoved(10, 1), state=back)
    assert (rested.state, rested.n_failures, rested.champion) == (State.COOLDOWN, 1, 1)


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (after(ev.ReferenceReady(1), ev.Warned(2)), ev.ChartsClear(3), State.MONITORING),
        (after(ev.ReferenceReady(1)), ev.Alarmed(3, "audit"), State.DIAGNOSE),
        (replace(FIRST, state=State.DIAGNOSE), ev.Diagnosed(3, ev.Diagnosis.BENIGN), State.REBASELINE),
        (replace(FIRST, state=State.DIAGNOSE), ev.Diagnosed(3, ev.Diagnosis.SENSOR_FAULT), State.BLOCKED),
        (replace(FIRST, state=State.REBASELINE), ev.RebaselineAnswered(3, True, "ann"), State.MONITORING),
        (replace(FIRST, state=State.REBASELINE), ev.RebaselineAnswered(3, False, "ann"), State.LABELLING),
        (replace(FIRST, state=State.BLOCKED), ev.FaultCleared(3), State.MONITORING),
        (labelling(), ev.LabelsReady(5, RUN), State.TRAINING),
        (labelling(), ev.Diagnosed(5, ev.Diagnosis.SENSOR_FAULT, "lens"), State.BLOCKED),
        (after(ev.LabelsReady(5, RUN), state=labelling()), ev.CandidateBuilt(6, RUN, 2, False, "nan"), State.COOLDOWN),
        (gating(), ev.GateDecided(7, RUN, GateDecision.REJECT, "budget"), State.COOLDOWN),
        (gating(), ev.GateDecided(7, RUN, GateDecision.PROMOTE, "proven"), State.APPROVAL),
        (approval(), ev.ApprovalAnswered(8, RUN, False, "ann"), State.COOLDOWN),
        (on_probation(), ev.RollbackAsked(9, "ann", "odd"), State.ROLLED_BACK),
        (on_probation(), ev.PointerMoved(9, 1), State.HOLD),
    ],
)
def test_arrows(state: RunState, event: ev.Event, expected: State) -> None:
    assert step(state, event)[0].state is expected


@pytest.mark.parametrize(
    ("state", "hours", "expected"),
    [
        (labelling(), 24.1, State.HOLD),
        (gating(), 25.1, State.COOLDOWN),
        (approval(), 24.1, State.COOLDOWN),
        (on_probation(), 7 * 24.1, State.ROLLED_BACK),
        (rolled_back(), 0.1, State.HOLD),
        (replace(FIRST, state=State.TRAINING), 1.1, State.COOLDOWN),
        (replace(FIRST, state=State.DIAGNOSE), 1.1, State.HOLD),
        (replace(FIRST, state=State.REBASELINE), 24.1, State.HOLD),
    ],
)
def test_waiting_has_an_end(state: RunState, hours: float, expected: State) -> None:
    assert step(state, ev.Ticked(state.entered_at + 60.0))[0].state is state.state
    assert step(state, ev.Ticked(state.entered_at + hours * 3600.0))[0].state is expected


def test_rest_doubles_with_every_failure_up_to_a_day() -> None:
    assert [cooldown_s(n) / 60 for n in (1, 2, 3, 6, 7, 100)] == [30, 60, 120, 960, 1440, 1440]
    tired = replace(FIRST, state=State.COOLDOWN, n_failures=3)
    assert after(ev.Ticked(7199.0), state=tired).state is State.COOLDOWN
    assert after(ev.Ticked(7200.0), state=tired).state is State.MONITORING


def test_a_third_promotion_within_a_day_is_refused() -> None:
    state = replace(gating(), promoted_at=(1.0, 2.0))
    refused = after(ev.GateDecided(7, RUN, GateDecision.PROMOTE, "proven"), state=state)
    assert (refused.state, refused.reason) == (State.COOLDOWN, "2 promotions within a day already")
    late = after(ev.GateDecided(DAY_S + 3, RUN, GateDecision.PROMOTE, "proven"), state=state)
    assert late.state is State.APPROVAL


@pytest.mark.parametrize(
    ("auto", "agreed", "must", "expected"),
    [
        (False, 9, False, State.APPROVAL),
        (True, 4, False, State.APPROVAL),
        (True, 5, False, State.PROBATION),
        (True, 5, True, State.APPROVAL),
    ],
)
def test_trust_is_earned_before_promotion_is_automatic(auto: bool, agreed: int, must: bool, expected: State) -> None:
    state = replace(gating(), n_agreed=agreed, person_must_approve=must)
    settings = LifecycleSettings(auto_promote=auto)
    done = after(ev.GateDecided(7, RUN, GateDecision.PROMOTE, "proven"), state=state, settings=settings)
    assert done.state is expected


def test_an_alarm_of_the_audit_alone_needs_a_person() -> None:
    state = after(ev.ReferenceReady(1), ev.Alarmed(3, "audit"), ev.Diagnosed(4, ev.Diagnosis.CONCEPT))
    assert state.person_must_approve


@pytest.mark.parametrize("event", [ev.LabelsReady(5, "cam-1-0"), ev.GateDecided(5, "x", GateDecision.PROMOTE, "")])
def test_an_answer_to_another_run_changes_nothing_and_is_told(event: ev.Event) -> None:
    state, effects = step(labelling(), event)
    assert state.state is State.LABELLING
    assert kinds(effects) == {Ignored}


@pytest.mark.parametrize("state", [labelling(), gating(), approval(), on_probation(), rolled_back(), FIRST])
def test_freeze_stops_every_state(state: RunState) -> None:
    held, effects = step(state, ev.Frozen(20, "ann", "audit visit"))
    assert (held.state, held.hold_reason, held.champion) == (State.HOLD, "ann: audit visit", state.champion)
    assert MovePointer not in kinds(effects)


def test_a_clock_that_goes_back_holds() -> None:
    held, _ = step(replace(gating(), last_at=1000.0), ev.Ticked(900.0))
    assert (held.state, held.reason) == (State.HOLD, "clock: went back 100 s")
    assert after(ev.Thawed(901.0, "ann"), state=held).state is State.MONITORING


def test_a_head_on_probation_when_all_froze_does_not_stay_after_the_thaw() -> None:
    held = after(ev.Frozen(9, "ann", "stop"), state=on_probation())
    thawed, effects = step(held, ev.Thawed(10, "ann"))
    assert (thawed.state, thawed.champion) == (State.ROLLED_BACK, 1)
    assert MovePointer("cam-1", 1) in effects


def test_proof_against_a_head_rolls_it_back_even_while_frozen_and_the_freeze_stays() -> None:
    held = after(ev.Frozen(9, "ann", "stop"), state=on_probation())
    back = after(ev.ProbationJudged(10, RUN, Verdict.ROLL_BACK, "worse"), state=held)
    assert (back.state, back.champion) == (State.ROLLED_BACK, 1)
    assert after(ev.PointerMoved(11, 1), state=back).state is State.HOLD


def test_a_restart_repeats_the_effects_of_where_it_stood() -> None:
    for state, expected in ((labelling(), AskLabels(RUN)), (gating(), OpenGate(RUN, 2))):
        again, effects = resume(state, at=100.0)
        assert again.state is state.state
        assert expected in effects
    assert MovePointer("cam-1", 2) in resume(on_probation(), at=100.0)[1]


def test_a_run_that_keeps_crashing_ends_and_a_head_on_probation_goes() -> None:
    state, probation = gating(), on_probation()
    for _ in range(4):
        state, _ = resume(state, at=100.0)
        probation, effects = resume(probation, at=100.0)
    assert state.state is State.COOLDOWN
    assert (probation.state, probation.champion) == (State.ROLLED_BACK, 1)
    assert MovePointer("cam-1", 1) in effects


@pytest.mark.parametrize("seed", range(8))
def test_on_every_path_the_pointer_moves_only_into_probation_and_back(seed: int) -> None:
    chance, state, pointer = random.Random(seed), FIRST, FIRST.champion
    for _ in range(400):
        before = state
        state, effects = step(state, next_event(state, chance=chance))
        moves = [effect.version for effect in effects if isinstance(effect, MovePointer)]
        told = [effect for effect in effects if isinstance(effect, Announce)]
        if moves:
            assert state.state in (State.PROBATION, State.ROLLED_BACK)
            pointer = moves[-1]
        assert pointer == state.champion
        assert len(told) == state.step - before.step, "one record for each transition, none without"
        assert (state.run is not None) or state.candidate is None
        assert state.on_probation is (state.state is State.PROBATION) or state.state is State.HOLD
        assert len(state.promoted_at) <= 2
