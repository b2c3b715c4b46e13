"""The states of a recalibration run, and the one value that says where a context stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where one context (camera, region, product, encoder) stands."""

    COMMISSIONING = "commissioning"  # the first reference is being gathered
    MONITORING = "monitoring"
    SUSPECT = "suspect"  # a chart warns
    DIAGNOSE = "diagnose"  # a chart alarms; what is it?
    BLOCKED = "blocked"  # the sensor is at fault: nothing may be learned
    REBASELINE = "rebaseline"  # harmless change; a person must approve the new normal
    LABELLING = "labelling"
    TRAINING = "training"
    GATING = "gating"
    APPROVAL = "approval"  # the gate says yes, a person has not yet
    PROBATION = "probation"
    ROLLED_BACK = "rolled back"
    COOLDOWN = "cooldown"
    HOLD = "hold"  # nothing moves until a person says so


AT_WORK = frozenset({State.TRAINING, State.GATING, State.PROBATION})  # where a crash may be the head's doing
CALM = frozenset({State.COMMISSIONING, State.MONITORING, State.SUSPECT})  # elsewhere the safe policy is on


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything the machine knows of one context; instants are UTC, seconds since 1970.

    `champion` is the head that decides now: on probation that is the new one, and `previous` the one to go back to.
    """

    context: str
    champion: int  # head version
    entered_at: float
    last_at: float  # of the latest event
    state: State = State.COMMISSIONING
    came_from: State = State.COMMISSIONING
    reason: str = ""
    step: int = 0  # counts transitions
    run: str | None = None
    n_runs: int = 0
    candidate: int | None = None
    previous: int | None = None
    on_probation: bool = False
    person_must_approve: bool = False  # in this run, whatever the settings say
    n_failures: int = 0  # runs in a row that ended without a confirmed head
    n_agreed: int = 0  # runs in a row in which a person approved what the gate proposed
    n_restarts: int = 0  # within this state
    promoted_at: tuple[float, ...] = ()
    hold_reason: str = ""

    @property
    def safe_policy(self) -> bool:
        """Whether the wider review band is on."""
        return self.state not in CALM


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """Times are seconds unless named otherwise."""

    auto_promote: bool = False
    approvals_before_auto: int = 5
    max_promotions_per_day: int = 2
    cooldown_s: float = 1800.0  # doubles with every failure in a row
    max_cooldown_s: float = 86_400.0
    diagnose_limit_s: float = 3600.0
    rebaseline_limit_s: float = 86_400.0
    labelling_limit_s: float = 86_400.0
    training_limit_s: float = 3600.0
    gating_limit_s: float = 90_000.0  # the gate itself gives up after 24 h
    approval_limit_s: float = 86_400.0
    probation_limit_s: float = 7 * 86_400.0
    rollback_limit_s: float = 300.0
    clock_tolerance_s: float = 60.0
    max_restarts: int = 3  # while training, gating or on probation
