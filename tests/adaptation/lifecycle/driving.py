"""Drives a journal, an audit log and a head pointer through random but possible events."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pipeline.adaptation.gate.probation import Verdict
from pipeline.adaptation.gate.values import GateDecision
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.audit_log import AuditLog
from pipeline.adaptation.lifecycle.effects import Announce, Effect, MovePointer
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.machine import step
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.heads.bundles.atomic import write_atomic

FIRST = RunState(context="cam-1", champion=1, entered_at=0.0, last_at=0.0)
LONG_S = 10 * 86_400.0
Maker = Callable[[float, RunState], ev.Event]


def _run(state: RunState) -> str:
    return state.run or ""


POSSIBLE: dict[State, tuple[Maker, ...]] = {
    State.COMMISSIONING: (lambda at, s: ev.ReferenceReady(at),),
    State.MONITORING: (lambda at, s: ev.Warned(at), lambda at, s: ev.Alarmed(at, "location")),
    State.SUSPECT: (lambda at, s: ev.Alarmed(at, "location"), lambda at, s: ev.ChartsClear(at)),
    State.DIAGNOSE: (
        lambda at, s: ev.Diagnosed(at, ev.Diagnosis.DRIFT),
        lambda at, s: ev.Diagnosed(at, ev.Diagnosis.CONCEPT),
        lambda at, s: ev.Diagnosed(at, ev.Diagnosis.SENSOR_FAULT, "lens"),
        lambda at, s: ev.Diagnosed(at, ev.Diagnosis.BENIGN),
    ),
    State.BLOCKED: (lambda at, s: ev.FaultCleared(at),),
    State.REBASELINE: (
        lambda at, s: ev.RebaselineAnswered(at, True, "ann"),
        lambda at, s: ev.RebaselineAnswered(at, False, "ann"),
    ),
    State.LABELLING: (lambda at, s: ev.LabelsReady(at, _run(s)),),
    State.TRAINING: (
        lambda at, s: ev.CandidateBuilt(at, _run(s), max(s.champion, s.previous or 0) + 1, True),
        lambda at, s: ev.CandidateBuilt(at, _run(s), 99, False, "norm"),
    ),
    State.GATING: (
        lambda at, s: ev.GateDecided(at, _run(s), GateDecision.PROMOTE, "proven"),
        lambda at, s: ev.GateDecided(at, _run(s), GateDecision.REJECT, "budget"),
    ),
    State.APPROVAL: (
        lambda at, s: ev.ApprovalAnswered(at, _run(s), True, "ann"),
        lambda at, s: ev.ApprovalAnswered(at, _run(s), False, "ann"),
    ),
    State.PROBATION: (
        lambda at, s: ev.ProbationJudged(at, _run(s), Verdict.CONFIRM, "clean"),
        lambda at, s: ev.ProbationJudged(at, _run(s), Verdict.ROLL_BACK, "worse"),
    ),
    State.ROLLED_BACK: (lambda at, s: ev.PointerMoved(at, s.champion),),
    State.COOLDOWN: (lambda at, s: ev.Ticked(at),),
    State.HOLD: (lambda at, s: ev.Thawed(at, "ann"),),
}


def next_event(state: RunState, *, chance: random.Random) -> ev.Event:
    """Mostly what moves this state on, sometimes a freeze, a manual rollback, a late answer or a long silence."""
    at = state.last_at + (86_400.0 if state.state is State.COOLDOWN else 600.0)
    rare = chance.random()
    if rare < 0.03:
        return ev.Frozen(at, "ann", "maintenance")
    if rare < 0.05:
        return ev.RollbackAsked(at, "ann", "looks odd")
    if rare < 0.08:
        return ev.LabelsReady(at, "cam-1-0")
    if rare < 0.10:
        return ev.Ticked(at + LONG_S)
    return chance.choice(POSSIBLE[state.state])(at, state)


def carry_out(effects: tuple[Effect, ...], *, folder: Path, log: AuditLog, at: float) -> None:
    """The two effects that leave traces: the pointer and the record."""
    for effect in effects:
        if isinstance(effect, MovePointer):
            write_atomic(folder / "LIVE", content=str(effect.version).encode())
        if isinstance(effect, Announce):
            log.append_once(at=at, actor="machine", kind="transition", payload=json.loads(json.dumps(asdict(effect))))


def start(folder: Path) -> tuple[RunState, Journal, AuditLog]:
    """What a process does first: open, resume, repeat the effects."""
    journal = Journal(folder / "journal.json")
    found = journal.read()
    log = AuditLog(folder / "audit.jsonl", at=found.last_at if found else 0.0)
    state, effects = journal.open(FIRST, at=found.last_at if found else 0.0)
    carry_out(effects, folder=folder, log=log, at=state.last_at)
    return state, journal, log


def drive(folder: Path, *, seed: int, n_events: int) -> RunState:
    """Go on from where the folder stands."""
    state, journal, log = start(folder)
    chance = random.Random(seed * 1_000_003 + state.step)
    for _ in range(n_events):
        state, effects = step(state, next_event(state, chance=chance))
        journal.write(state)
        carry_out(effects, folder=folder, log=log, at=state.last_at)
    log.close()
    return state
