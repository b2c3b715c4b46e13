"""What the review page asks of a running line, and the values it gets."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.gate.values import GateReport
from pipeline.adaptation.lifecycle.states import State
from pipeline.types import Decision
from workers.capture import SourceState


@dataclass(frozen=True, slots=True)
class CameraTile:
    """One camera's last delivered frame; all None before the first."""

    camera: str
    state: SourceState
    event_id: str | None = None
    label: str | None = None  # class id
    confidence: float | None = None
    decision: Decision | None = None
    age_s: float | None = None  # since the frame was received


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class that a person may choose."""

    class_id: str
    name: str  # what people at the line call it
    good: bool


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One part to label. `model_label` is None where the answer has to be blind; nothing tells a honeypot."""

    event_id: str
    camera: str
    captured_at: float  # UTC, seconds since 1970
    blind: bool
    model_label: str | None = None
    model_confidence: float | None = None

    def __post_init__(self) -> None:
        if self.blind and (self.model_label, self.model_confidence) != (None, None):
            raise ValueError(f"{self.event_id}: expected no model answer in a blind question, got one")


@dataclass(frozen=True, slots=True)
class Queue:
    """What one labeller may answer now, in the order to ask."""

    items: tuple[QueueItem, ...]
    n_waiting: int  # all of this labeller's, `items` included
    n_labelled: Mapping[str, int] = field(default_factory=dict)  # by class id; empty where nobody counts
    n_wanted: int = 0  # of each class, for the first head


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """What became of one label."""

    event_id: str  # empty where it could not be read
    outcome: str  # one of pipeline.adaptation.support.intake.Outcome
    reason: str = ""  # empty where nothing is wrong
    quarantined: bool = False


@dataclass(frozen=True, slots=True)
class NearText:
    """A text that pulled the decision one way or the other."""

    phrase: str
    class_id: str
    cosine: float
    contribution: float  # to the winner's margin, logit units


@dataclass(frozen=True, slots=True)
class NearPicture:
    """A labelled picture near to this one."""

    picture: str | None  # what `ReviewBackend.picture` is asked for; None where it is not kept
    class_id: str
    cosine: float
    contribution: float  # to the winner's margin, logit units


@dataclass(frozen=True, slots=True)
class Why:
    """Why one part got its label, by the head that decided it; margins are winner minus rival in logit units."""

    event_id: str
    camera: str
    captured_at: float  # UTC, seconds since 1970
    label: str
    confidence: float
    decision: Decision | None  # None where it is no longer known
    rival: str
    rival_confidence: float
    margin: float  # after deconfusion
    raw_margin: float  # before
    head_version: int
    texts: tuple[NearText, ...] = ()
    support: tuple[NearPicture, ...] = ()
    support_is_exact: bool = True  # False: shared out by likeness


@dataclass(frozen=True, slots=True)
class ConfusionDay:
    """What people said against what the line said, of the parts asked about at random on one day."""

    day: date
    classes: tuple[str, ...]  # class ids, of rows and columns
    counts: tuple[tuple[int, ...], ...]  # counts[said by people][said by the line]

    @property
    def n_labels(self) -> int:
        """All of them."""
        return sum(map(sum, self.counts))


class Harm(enum.StrEnum):
    """What audit labels say of a drift."""

    UNKNOWN = "unknown"  # none, or too few since it began
    NONE_SO_FAR = "none_so_far"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class DriftLine:
    """The facts of one camera of which the page makes its sentence."""

    camera: str
    state: State
    since: float | None = None  # UTC, seconds since 1970: the alarm, else when the state was entered
    cause: Cause | None = None
    harm: Harm = Harm.UNKNOWN
    n_labels: int = 0  # answered in this run
    n_labels_needed: int = 0
    n_parts: int = 0  # in the reference so far, or on probation
    n_parts_needed: int = 0
    head_version: int | None = None  # candidate, or the head on probation
    hold_reason: str = ""


class HeadStatus(enum.StrEnum):
    """What a head is to the line."""

    LIVE = "live"
    PROBATION = "probation"  # live, and watched
    AWAITS_APPROVAL = "awaits_approval"  # the gate says yes
    SHADOW = "shadow"  # the gate is gathering evidence
    CANDIDATE = "candidate"
    RETIRED = "retired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class HeadRow:
    """One version of the head."""

    version: int
    status: HeadStatus
    kind: str  # e.g. deconfusion
    made_at: float  # UTC, seconds since 1970
    gate: GateReport | None = None
    may_approve: bool = False
    may_promote: bool = False


@dataclass(frozen=True, slots=True)
class Heads:
    """All versions, the newest first."""

    rows: tuple[HeadRow, ...]
    live: int  # version
    roll_back_to: int | None = None  # version
    frozen: bool = False
    frozen_by: str = ""
    frozen_reason: str = ""
    may_freeze: bool = True  # False where nothing changes by itself


class ReviewBackend(Protocol):
    """Every call is quick and may come from any thread; a refusal is a ClearlineError that says what to do."""

    def wall(self) -> tuple[CameraTile, ...]:
        """One tile per camera, always in the same order."""

    def picture(self, event_id: str) -> bytes | None:
        """JPEG or PNG of an event, or of a NearPicture; None where it is unknown or no longer kept."""

    def classes(self) -> tuple[ClassRow, ...]:
        """In the order of the keys that choose them."""

    def queue(self, labeller: str, *, limit: int) -> Queue:
        """What this person has neither answered nor skipped."""

    def answer(self, event_id: str, *, label: str, labeller: str) -> LabelAnswer:
        """Answer a question; the same person again corrects the first. DataError: no such question, class, or late."""

    def skip(self, event_id: str, *, labeller: str) -> None:
        """Do not ask this person again; an answer still counts. DataError where there is no such question."""

    def take_labels(self, labels: Sequence[Mapping[str, Any]], *, sender: str) -> tuple[LabelAnswer, ...]:
        """Labels that were not asked for here, as `parse_label` takes them; one answer each, in order."""

    def why(self, event_id: str) -> Why | None:
        """None where the event is unknown, or waits for a blind answer: it would give the line's answer away."""

    def confusion(self, day: date) -> ConfusionDay:
        """Of one day in the plant's time zone."""

    def drift(self) -> tuple[DriftLine, ...]:
        """One line per camera, in the order of the wall."""

    def heads(self) -> Heads:
        """As of now."""

    def approve(self, version: int, *, who: str) -> None:
        """A person agrees with the gate: the head goes on probation."""

    def promote(self, version: int, *, who: str) -> None:
        """Make it live from the next batch on, by a person's decision."""

    def roll_back(self, who: str) -> None:
        """The previous head, from the next batch on."""

    def freeze(self, who: str) -> None:
        """Nothing changes by itself any more."""

    def thaw(self, who: str) -> None:
        """It may again."""

    def change_product(self, product: str, *, who: str) -> None:
        """Another product on the belt: its own references, and no drift. DataError for a name that is none."""
