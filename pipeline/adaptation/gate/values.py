"""What the gate is fed with and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class LabelStream(StrEnum):
    """Why a label was asked for; the three are never mixed, and only GATE is evidence for a promotion."""

    GATE = "gate"  # random among the frames on which the heads disagree
    AUDIT = "audit"  # random among accepted and rejected parts
    TEACH = "teach"  # chosen because they teach most


@dataclass(frozen=True, slots=True)
class LabelledPart:
    """One answer of a labeller beside what the heads decided. Decisions are class indices, or C for review."""

    event_id: str
    truth: int
    labeller: str
    stream: LabelStream
    champion: int
    champion_confidence: float = 0.0
    challenger: int | None = None  # None where no second head was asked
    inclusion: float = 1.0  # probability with which the sampler drew this frame
    blind: bool = True  # the labeller did not see what the model says
    neighbour: int | None = None  # class of most of its neighbours in the support set, where they clearly agree
    second: int | None = None  # answer of another labeller


@dataclass(frozen=True, slots=True)
class Honeypot:
    """A part whose truth is known, hidden in a batch."""

    event_id: str
    truth: int
    answer: int
    labeller: str


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """What labellers sent back for one request. The same `batch_id` again replaces a quarantined batch."""

    batch_id: str
    parts: tuple[LabelledPart, ...]
    honeypots: tuple[Honeypot, ...] = ()

    @property
    def double_labelled(self) -> bool:
        """Whether every part has an answer of a second labeller."""
        return bool(self.parts) and all(part.second is not None for part in self.parts)


@dataclass(frozen=True, slots=True)
class GoldenClass:
    """One class of the golden set under both heads."""

    n: int
    champion_right: int
    challenger_right: int


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """The golden set under both heads; `new_escapes` are must-reject parts that only the challenger accepts."""

    classes: Mapping[str, GoldenClass]
    new_escapes: int = 0


@dataclass(frozen=True, slots=True)
class StaticChecks:
    """What is known of a candidate before it sees a frame."""

    finite: bool
    same_classes: bool  # as many and in the same order, or the run is one that adds a class
    norm_ratio: float  # weights' norm over the champion's
    latency_ratio: float  # time per batch over what the line allows
    rebuild_equal: bool  # a second fit from the manifest gave the same bytes


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """What the gate must know beside labels. None is "not known yet" and keeps the gate waiting."""

    static: StaticChecks | None = None
    golden: GoldenResult | None = None
    class_cycle_seen: bool = False  # the shadow saw every class that the line makes now
    founders_unchanged: bool = True
    replaced_share: Mapping[str, float] = field(default_factory=dict)  # of a class's exemplars, by this run
    promotions_today: int = 0
    n_candidates: int = 1  # heads that this run puts before the gate


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: passed, failed for good, or (None) still open."""

    name: str
    passed: bool | None
    said: str


class GateDecision(StrEnum):
    """What to do with the challenger."""

    PROMOTE = "promote"
    REJECT = "reject"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class GateReport:
    """Everything the gate's decision rests on; goes to the audit log and to the operator."""

    run: str
    champion: int  # head version
    challenger: int
    frames: int
    disagreements: int
    labelled: int  # that counted
    ignored: Mapping[str, int]  # labels that did not count, by reason
    log_e_cost: float  # for "the challenger costs less"
    log_e_worse: float  # for "the challenger costs more"
    log_e_needed: float
    log_e_acc: float  # reported, decides nothing
    cost_gain: float  # mean saving per labelled disagreement, share of the largest cost
    escape_introduced: int
    escape_removed: int
    escape_bound: float  # net introduced escapes per frame, upper bound
    flip_rate: float
    golden: Mapping[str, float]  # points gained per class
    honeypot: Mapping[str, int]  # wrong, total
    screens: Mapping[str, tuple[str, ...]]  # batch in quarantine -> reasons
    checks: tuple[Check, ...]
    decision: GateDecision
    reason: str
    labels_sha: str

    def to_json(self) -> str:
        """One line, keys in order."""
        return json.dumps(asdict(self), sort_keys=True)
