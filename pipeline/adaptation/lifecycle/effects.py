"""What the machine asks for. Each may be carried out twice: after a crash it will be."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.adaptation.lifecycle.states import RunState, State


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done by whoever drives the machine."""


@dataclass(frozen=True, slots=True)
class Announce(Effect):
    """One event on the heads topic and one audit record; (context, step) is its identity."""

    context: str
    step: int
    before: State
    after: State
    run: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SetSafePolicy(Effect):
    """Widen the review band, or narrow it again."""

    context: str
    on: bool


@dataclass(frozen=True, slots=True)
class Diagnose(Effect):
    """Find out what the alarm is."""

    context: str


@dataclass(frozen=True, slots=True)
class AskLabels(Effect):
    """Choose frames to teach with and send them to labellers, unless this run has asked already."""

    run: str


@dataclass(frozen=True, slots=True)
class Train(Effect):
    """Fit a challenger; the same labels give the same bytes."""

    run: str


@dataclass(frozen=True, slots=True)
class OpenGate(Effect):
    """Run the candidate in the shadow; after a restart, feed the gate what it had been fed before."""

    run: str
    candidate: int


@dataclass(frozen=True, slots=True)
class AskPerson(Effect):
    """Show the report (or the new normal) and wait for yes or no."""

    context: str
    run: str | None
    question: str


@dataclass(frozen=True, slots=True)
class MovePointer(Effect):
    """Decide with this version from the next batch on, then report PointerMoved."""

    context: str
    version: int


@dataclass(frozen=True, slots=True)
class WatchProbation(Effect):
    """Keep the previous head deciding in the shadow, audit four times as densely; start a new reference."""

    run: str
    head: int
    previous: int


@dataclass(frozen=True, slots=True)
class StartReference(Effect):
    """Gather a new reference for this head, unless it is being gathered."""

    context: str
    head: int


@dataclass(frozen=True, slots=True)
class Alert(Effect):
    """A person must know: warn or critical."""

    context: str
    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class Ignored(Effect):
    """The event changed nothing, and why; to be counted."""

    event: str
    why: str


def entry_effects(now: RunState) -> tuple[Effect, ...]:
    """What entering this state asks for; a function of the state alone, so that a restart can ask again."""
    told = Announce(now.context, now.step, now.came_from, now.state, now.run, now.reason)
    return (told, SetSafePolicy(now.context, now.safe_policy), *_own_effects(now))


def _own_effects(now: RunState) -> tuple[Effect, ...]:
    run, candidate, context = now.run or "", now.candidate or 0, now.context
    effects: dict[State, tuple[Effect, ...]] = {
        State.DIAGNOSE: (Diagnose(context),),
        State.BLOCKED: (Alert(context, "critical", now.reason),),
        State.REBASELINE: (AskPerson(context, now.run, "approve the new normal"),),
        State.LABELLING: (AskLabels(run),),
        State.TRAINING: (Train(run),),
        State.GATING: (OpenGate(run, candidate),),
        State.APPROVAL: (AskPerson(context, now.run, f"let head {candidate} go live"),),
        State.ROLLED_BACK: (MovePointer(context, now.champion), Alert(context, "critical", now.reason)),
        State.HOLD: (Alert(context, "critical", now.reason),),
    }
    if now.state is State.PROBATION:
        assert now.previous is not None
        return MovePointer(context, now.champion), WatchProbation(run, now.champion, now.previous)
    if now.state is State.MONITORING and now.came_from in (State.PROBATION, State.REBASELINE):
        return (StartReference(context, now.champion),)
    return effects.get(now.state, ())
