"""What can happen to a context. `at` is UTC, seconds since 1970; `run` names the run an answer belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.adaptation.gate.probation import Verdict
from pipeline.adaptation.gate.values import GateDecision


class Diagnosis(StrEnum):
    """What an alarm turned out to be."""

    SENSOR_FAULT = "sensor fault"
    BENIGN = "benign"  # the stream changed, audited errors did not
    DRIFT = "drift"
    CONCEPT = "concept"  # only the audit alarms: rules or labellers may have changed


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    at: float


@dataclass(frozen=True, slots=True)
class RunEvent(Event):
    """An answer to one run; ignored when that run is over."""

    run: str


@dataclass(frozen=True, slots=True)
class Ticked(Event):
    """Time goes by."""


@dataclass(frozen=True, slots=True)
class ReferenceReady(Event):
    """The reference is long enough and its audit is good."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """A chart is above its warning line."""


@dataclass(frozen=True, slots=True)
class ChartsClear(Event):
    """All charts were below their warning lines for 20 blocks."""


@dataclass(frozen=True, slots=True)
class Alarmed(Event):
    """A chart was above its limit in 4 of 5 blocks, or the audit chart is."""

    cause: str


@dataclass(frozen=True, slots=True)
class Diagnosed(Event):
    """What the alarm is."""

    diagnosis: Diagnosis
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FaultCleared(Event):
    """The sensor is good again and 2,000 clean parts have passed."""


@dataclass(frozen=True, slots=True)
class RebaselineAnswered(Event):
    """A person looked at the new normal."""

    approved: bool
    by: str


@dataclass(frozen=True, slots=True)
class LabelsReady(RunEvent):
    """Quota reached and label quality good."""


@dataclass(frozen=True, slots=True)
class CandidateBuilt(RunEvent):
    """Training ended; `passed` says whether the static checks did."""

    version: int
    passed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GateDecided(RunEvent):
    """The gate ended the run's trial."""

    decision: GateDecision
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalAnswered(RunEvent):
    """A person looked at the gate's report."""

    approved: bool
    by: str


@dataclass(frozen=True, slots=True)
class ProbationJudged(RunEvent):
    """The probation has a verdict."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class PointerMoved(Event):
    """The line decides with this version now."""

    version: int


@dataclass(frozen=True, slots=True)
class PromotedByHand(Event):
    """A person has made this version live, past the gate; the pointer has moved."""

    version: int
    by: str


@dataclass(frozen=True, slots=True)
class RollbackAsked(Event):
    """A person wants the previous head back."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Frozen(Event):
    """Nothing may change any more: an operator, a broken store, a clock that jumped."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Thawed(Event):
    """A person lets things move again."""

    by: str
