"""Recorded embeddings under one head or two: what each says, where they differ, and who is right where it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.adaptation.gate.ab import ComparisonReport, HeadComparison
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.values import LabelledPart, LabelStream
from pipeline.adaptation.support.replaying import RecordedFrames
from pipeline.decision import Decider
from pipeline.heads.fitted import AnyHead
from pipeline.types import Decision, Features

TOGETHER = 4096  # rows
MAX_EXAMPLES = 20
SHUFFLE_SEED = 0  # labelled parts are compared in random order: parts of one product run follow one another

Verdict = tuple[str, Decision | None]  # None where only the label was recorded


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A head with what decides from its scores."""

    version: int
    head: AnyHead
    decider: Decider

    def verdicts(self, frames: RecordedFrames) -> list[Verdict]:
        """Label and decision of every frame."""
        out: list[Verdict] = []
        for begin in range(0, len(frames), TOGETHER):
            rows = frames.records["embedding"][begin : begin + TOGETHER].astype(np.float32)
            for label, decision in self.decider.judge(self.head.score(Features(image=rows))):
                out.append((self.head.classes[label], decision))
        return out


@dataclass(frozen=True, slots=True)
class Change:
    """A frame that is decided otherwise."""

    event_id: str
    before: str  # label and decision
    after: str
    truth: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """How one head did on the parts whose class people have said; shares are 0 to 1, nan where there was none."""

    n: int
    n_right: int
    n_defect: int
    n_escaped: int  # defects it accepts
    n_good: int
    n_overkilled: int  # good parts it rejects
    n_review: int

    @property
    def accuracy(self) -> float:
        """Right labels among known parts."""
        return self.n_right / self.n if self.n else float("nan")


@dataclass
class Tally:
    """What adds up over the segments."""

    good: frozenset[str]
    truth: Mapping[str, str]  # label that stands, by event
    n_frames: int = 0
    n_changed: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    against_labels: Counter[str] = field(default_factory=Counter)
    against_decisions: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Change] = field(default_factory=list)
    known: dict[str, tuple[Verdict, Verdict | None]] = field(default_factory=dict)  # by event

    def add(self, frames: RecordedFrames, *, ours: Sequence[Verdict], others: Sequence[Verdict | None]) -> None:
        """One segment: what the head says, and what the other (or the line, then) says of the same frames."""
        for event_id, mine, other in zip(frames.event_ids, ours, others, strict=True):
            self.n_frames += 1
            self.labels[mine[0]] += 1
            self.decisions.update(_decision(mine))
            truth = self.truth.get(event_id)
            if truth is not None:
                self.known[event_id] = (mine, other)
            if other is None:
                continue
            self.against_labels[other[0]] += 1
            self.against_decisions.update(_decision(other))
            if mine[0] != other[0] or (other[1] is not None and mine[1] is not other[1]):
                self._changed(Change(event_id, _words(other), _words(mine), truth))

    def _changed(self, change: Change) -> None:
        self.n_changed += 1
        self.changes[change.before, change.after] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(change)

    def figures(self, *, of_other: bool = False) -> Known | None:
        """On the parts of known class; None where there are none, or where no decisions are known."""
        found = {e: pair[1] if of_other else pair[0] for e, pair in self.known.items()}
        verdicts = [(self.truth[e], *verdict) for e, verdict in found.items() if verdict is not None and verdict[1]]
        if not verdicts:
            return None
        defects = [one for one in verdicts if one[0] not in self.good]
        goods = [one for one in verdicts if one[0] in self.good]
        return Known(
            n=len(verdicts),
            n_right=sum(truth == label for truth, label, _ in verdicts),
            n_defect=len(defects),
            n_escaped=sum(decision is Decision.ACCEPT for _, _, decision in defects),
            n_good=len(goods),
            n_overkilled=sum(decision is Decision.REJECT for _, _, decision in goods),
            n_review=sum(decision in (Decision.REVIEW, Decision.UNKNOWN) for _, _, decision in verdicts),
        )


def compare(tally: Tally, *, costs: CostMatrix, classes: Sequence[str]) -> ComparisonReport:
    """What the head saves against the other, on the parts of known class alone, in random order."""
    number = {name: i for i, name in enumerate(classes)}
    comparison = HeadComparison(costs)
    events = sorted(event_id for event_id, pair in tally.known.items() if pair[1] is not None)
    for i in np.random.default_rng(SHUFFLE_SEED).permutation(len(events)):
        event_id = events[int(i)]
        ours, other = tally.known[event_id]
        assert other is not None
        mine, theirs = _code(ours, number=number), _code(other, number=number)
        if mine == theirs:
            comparison.agreed(1)
            continue
        comparison.add(
            LabelledPart(
                event_id=event_id,
                truth=number[tally.truth[event_id]],
                labeller="",
                stream=LabelStream.AUDIT,
                champion=theirs,
                challenger=mine,
            )
        )
    return comparison.report()


def label_union(*parts: Iterable[str]) -> tuple[str, ...]:
    """Every class that anybody names, sorted."""
    return tuple(sorted({name for part in parts for name in part}))


def _code(verdict: Verdict, *, number: Mapping[str, int]) -> int:
    label, decision = verdict
    return number[label] if decision in (Decision.ACCEPT, Decision.REJECT) else len(number)


def _decision(verdict: Verdict) -> tuple[str, ...]:
    return () if verdict[1] is None else (verdict[1].value,)


def _words(verdict: Verdict) -> str:
    return verdict[0] if verdict[1] is None else f"{verdict[0]} ({verdict[1].value})"
