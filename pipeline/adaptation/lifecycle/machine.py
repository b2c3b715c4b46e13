"""The life of a recalibration as a pure function: state and event in, new state and effects out.

The head pointer moves on entry of PROBATION and of ROLLED_BACK and nowhere else; a person who moves it past the gate
moves it first and says so after. One run per context at a time; every way out that is not a confirmed head ends with
the old one deciding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.adaptation.gate.probation import Verdict
from pipeline.adaptation.gate.values import GateDecision
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.effects import Effect, Ignored, entry_effects
from pipeline.adaptation.lifecycle.states import AT_WORK, LifecycleSettings, RunState, State

Next = RunState | str  # the new state, or why nothing changes
Handler = Callable[[RunState, ev.Event], Next]
_DEFAULTS = LifecycleSettings()
_DAY_S = 86_400.0


def step(
    state: RunState, event: ev.Event, *, settings: LifecycleSettings = _DEFAULTS
) -> tuple[RunState, tuple[Effect, ...]]:
    """The state after the event and what is to be done, in order; write the state down before doing any of it."""
    outcome = _next(state, event, settings)
    if isinstance(outcome, str):
        seen_at = event.at if state.state is State.HOLD else max(state.last_at, event.at)
        return replace(state, last_at=seen_at), (Ignored(type(event).__name__, outcome),)
    return outcome, entry_effects(outcome)


def resume(
    state: RunState, *, at: float, settings: LifecycleSettings = _DEFAULTS
) -> tuple[RunState, tuple[Effect, ...]]:
    """After a restart: the same state with its effects to repeat, or an end to a run that keeps crashing."""
    at_work = state.state in AT_WORK
    if at_work and state.n_restarts >= settings.max_restarts:
        why = f"{state.n_restarts + 1} restarts while {state.state}"
        ended = _roll_back(state, at, why) if state.on_probation else _fail(state, at, why)
        return ended, entry_effects(ended)
    again = replace(state, n_restarts=state.n_restarts + at_work)
    return again, entry_effects(again)


def cooldown_s(n_failures: int, *, settings: LifecycleSettings = _DEFAULTS) -> float:
    """How long to rest after so many failures in a row, seconds."""
    doublings = min(max(n_failures - 1, 0), 32)
    return min(settings.cooldown_s * 2.0**doublings, settings.max_cooldown_s)


def changed_by_hand(state: RunState, *, to: int, previous: int | None, at: float, reason: str) -> RunState:
    """Where a context stands after a person has moved the pointer.

    A run that was under way is over, and the references of the other head do not count; a hold stays one.
    """
    after = State.HOLD if state.state is State.HOLD else State.COMMISSIONING
    moved = _end_run(_enter(state, after, at, reason))
    return replace(moved, champion=to, previous=previous, on_probation=False)


def _next(now: RunState, event: ev.Event, settings: LifecycleSettings) -> Next:
    if now.state is not State.HOLD:
        if event.at < now.last_at - settings.clock_tolerance_s:
            return _hold(now, event.at, f"clock: went back {now.last_at - event.at:.0f} s")
        if isinstance(event, ev.Frozen):
            return _hold(now, event.at, f"{event.by}: {event.reason}")
    if isinstance(event, ev.RunEvent) and event.run != now.run:
        return f"belongs to run {event.run}, not to {now.run}"
    if isinstance(event, ev.Ticked):
        return _timeout(now, event.at, settings)
    if isinstance(event, ev.GateDecided) and now.state is State.GATING:
        return _on_gate(now, event, settings)
    return _handle(now, event)


def _handle(now: RunState, event: ev.Event) -> Next:
    if isinstance(event, ev.RollbackAsked):
        if now.previous is None:
            return "no previous head to go back to"
        return _roll_back(now, event.at, f"{event.by}: {event.reason}")
    if isinstance(event, ev.PromotedByHand):
        reason = f"{event.by}: promote to head {event.version}"
        return changed_by_hand(now, to=event.version, previous=now.champion, at=event.at, reason=reason)
    if isinstance(event, ev.Diagnosed) and event.diagnosis is ev.Diagnosis.SENSOR_FAULT:
        return _sensor_fault(now, event)
    handler = _HANDLERS.get((now.state, type(event)))
    return handler(now, event) if handler else f"means nothing in {now.state}"


def _enter(now: RunState, state: State, at: float, reason: str, /) -> RunState:
    return replace(
        now, state=state, came_from=now.state, entered_at=at, last_at=at, reason=reason, step=now.step + 1, n_restarts=0
    )  # fmt: skip


def _end_run(now: RunState) -> RunState:
    return replace(now, run=None, candidate=None, person_must_approve=False)


def _fail(now: RunState, at: float, reason: str, /) -> RunState:
    return replace(_end_run(_enter(now, State.COOLDOWN, at, reason)), n_failures=now.n_failures + 1)


def _hold(now: RunState, at: float, reason: str, /) -> RunState:
    held = _enter(now, State.HOLD, at, reason)
    return replace(held if now.on_probation else _end_run(held), hold_reason=reason)


def _roll_back(now: RunState, at: float, reason: str, /) -> RunState:
    assert now.previous is not None
    back = _end_run(_enter(now, State.ROLLED_BACK, at, reason))
    return replace(back, champion=now.previous, previous=None, on_probation=False)


def _promote(now: RunState, at: float, reason: str, /) -> RunState:
    assert now.candidate is not None
    live = _enter(now, State.PROBATION, at, reason)
    recent = tuple(one for one in now.promoted_at if at - one < _DAY_S)
    return replace(
        live, champion=now.candidate, previous=now.champion, on_probation=True, promoted_at=(*recent, at)
    )  # fmt: skip


def _timeout(now: RunState, at: float, settings: LifecycleSettings) -> Next:
    limits: dict[State, tuple[float, Callable[[RunState, float, str], RunState], str]] = {
        State.DIAGNOSE: (settings.diagnose_limit_s, _hold, "no diagnosis came"),
        State.REBASELINE: (settings.rebaseline_limit_s, _hold, "nobody answered about the new normal"),
        State.LABELLING: (settings.labelling_limit_s, _hold, "labels did not come in time"),
        State.TRAINING: (settings.training_limit_s, _fail, "training took too long"),
        State.GATING: (settings.gating_limit_s, _fail, "the gate did not decide in time"),
        State.APPROVAL: (settings.approval_limit_s, _fail, "nobody approved in time"),
        State.PROBATION: (settings.probation_limit_s, _roll_back, "probation never came to an end"),
        State.ROLLED_BACK: (settings.rollback_limit_s, _hold, "the old head was not reported live"),
        State.COOLDOWN: (cooldown_s(now.n_failures, settings=settings), _rested, "rested"),
    }
    if now.state not in limits:
        return "no time limit here"
    limit, leave, why = limits[now.state]
    return leave(now, at, why) if at - now.entered_at >= limit else "not yet"


def _rested(now: RunState, at: float, reason: str, /) -> RunState:
    return _enter(now, State.MONITORING, at, reason)


def _sensor_fault(now: RunState, event: ev.Diagnosed) -> Next:
    """Nothing is learned from a broken sensor; labels stay in the store. A probation goes on: it is paired."""
    if now.state in (State.PROBATION, State.ROLLED_BACK, State.HOLD, State.BLOCKED, State.COMMISSIONING):
        return f"sensor fault changes nothing in {now.state}"
    return _end_run(_enter(now, State.BLOCKED, event.at, f"sensor fault: {event.detail}"))


def _start_run(now: RunState, at: float, reason: str, /) -> RunState:
    begun = _enter(now, State.LABELLING, at, reason)
    return replace(begun, run=f"{now.context}-{now.n_runs + 1}", n_runs=now.n_runs + 1)


def _on_diagnosed(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.Diagnosed)
    reason = f"{event.diagnosis}: {event.detail}"
    if event.diagnosis is ev.Diagnosis.BENIGN:
        return _enter(now, State.REBASELINE, event.at, reason)
    is_concept = event.diagnosis is ev.Diagnosis.CONCEPT
    return replace(_start_run(now, event.at, reason), person_must_approve=is_concept)


def _on_rebaseline(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.RebaselineAnswered)
    if event.approved:
        return _enter(now, State.MONITORING, event.at, f"{event.by} approved the new normal")
    return _start_run(now, event.at, f"{event.by} refused the new normal")


def _on_candidate(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.CandidateBuilt)
    if not event.passed:
        return _fail(now, event.at, f"static checks: {event.reason}")
    return replace(_enter(now, State.GATING, event.at, f"head {event.version} built"), candidate=event.version)


def _on_gate(now: RunState, event: ev.GateDecided, settings: LifecycleSettings) -> Next:
    if event.decision is GateDecision.CONTINUE:
        return "the gate goes on"
    if event.decision is GateDecision.REJECT:
        return _fail(now, event.at, f"gate: {event.reason}")
    today = sum(event.at - one < _DAY_S for one in now.promoted_at)
    if today >= settings.max_promotions_per_day:
        return _fail(now, event.at, f"{today} promotions within a day already")
    trusted = settings.auto_promote and now.n_agreed >= settings.approvals_before_auto
    if trusted and not now.person_must_approve:
        return _promote(now, event.at, f"gate: {event.reason}")
    return _enter(now, State.APPROVAL, event.at, f"gate: {event.reason}")


def _on_approval(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.ApprovalAnswered)
    if event.approved:
        return replace(_promote(now, event.at, f"{event.by} approved"), n_agreed=now.n_agreed + 1)
    return replace(_fail(now, event.at, f"{event.by} refused"), n_agreed=0)


def _on_verdict(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.ProbationJudged)
    if event.verdict is Verdict.ROLL_BACK and now.on_probation:
        return _roll_back(now, event.at, event.reason)
    if event.verdict is Verdict.CONFIRM and now.state is State.PROBATION:
        return replace(
            _end_run(_enter(now, State.MONITORING, event.at, event.reason)), on_probation=False, n_failures=0
        )
    return f"{event.verdict} changes nothing here"


def _on_pointer(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.PointerMoved)
    if event.version != now.champion:
        return _hold(now, event.at, f"the line decides with head {event.version}, expected {now.champion}")
    if now.state is not State.ROLLED_BACK:
        return "as expected"
    if now.hold_reason:
        return _hold(now, event.at, now.hold_reason)
    return _fail(now, event.at, now.reason)


def _on_thaw(now: RunState, event: ev.Event) -> Next:
    """A head that was on probation when all stopped is not proven: it goes."""
    assert isinstance(event, ev.Thawed)
    free = replace(now, hold_reason="")
    if now.on_probation:
        return _roll_back(free, event.at, f"{event.by} thawed a broken-off probation")
    return _enter(free, State.MONITORING, event.at, f"{event.by} thawed")


def _simply(state: State, reason: str) -> Handler:
    def go(now: RunState, event: ev.Event) -> Next:
        return _enter(now, state, event.at, reason)

    return go


def _on_alarm(now: RunState, event: ev.Event) -> Next:
    assert isinstance(event, ev.Alarmed)
    return _enter(now, State.DIAGNOSE, event.at, f"alarm: {event.cause}")


_HANDLERS: dict[tuple[State, type[ev.Event]], Handler] = {
    (State.COMMISSIONING, ev.ReferenceReady): _simply(State.MONITORING, "the reference is ready"),
    (State.MONITORING, ev.Warned): _simply(State.SUSPECT, "a chart warns"),
    (State.MONITORING, ev.Alarmed): _on_alarm,
    (State.SUSPECT, ev.ChartsClear): _simply(State.MONITORING, "charts are clear again"),
    (State.SUSPECT, ev.Alarmed): _on_alarm,
    (State.DIAGNOSE, ev.Diagnosed): _on_diagnosed,
    (State.BLOCKED, ev.FaultCleared): _simply(State.MONITORING, "the sensor is good again"),
    (State.REBASELINE, ev.RebaselineAnswered): _on_rebaseline,
    (State.LABELLING, ev.LabelsReady): _simply(State.TRAINING, "labels are ready"),
    (State.TRAINING, ev.CandidateBuilt): _on_candidate,
    (State.APPROVAL, ev.ApprovalAnswered): _on_approval,
    (State.PROBATION, ev.ProbationJudged): _on_verdict,
    (State.PROBATION, ev.PointerMoved): _on_pointer,
    (State.ROLLED_BACK, ev.PointerMoved): _on_pointer,
    (State.HOLD, ev.ProbationJudged): _on_verdict,
    (State.HOLD, ev.Thawed): _on_thaw,
}
