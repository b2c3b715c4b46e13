"""Labels come in: each is judged against what is known, and nothing is trained on silently."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.adaptation.support.labels import BLIND_STREAMS, Label, Stream, parse_label, standing_of
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError

CLOCK_TOLERANCE_S = 300.0  # a labeller's clock may be ahead by this much


class Outcome(enum.StrEnum):
    """What happened to one label; bounded, so a metric label."""

    ACCEPTED = "accepted"
    DOUBLE_LABELLED = "double_labelled"  # another labeller said the same before
    CORRECTED = "corrected"  # it took the place of what the same labeller said before
    DUPLICATE = "duplicate"  # said before, or older than what the same labeller said since
    HONEYPOT = "honeypot"  # kept to judge the labeller, never the part
    CONTRADICTION = "contradiction"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_CLASS = "unknown_class"
    UNKNOWN_STREAM = "unknown_stream"
    NOT_BLIND = "not_blind"
    FROM_THE_FUTURE = "from_the_future"
    MALFORMED = "malformed"


QUARANTINED = frozenset(
    {
        Outcome.CONTRADICTION,
        Outcome.UNKNOWN_EVENT,
        Outcome.UNKNOWN_CLASS,
        Outcome.UNKNOWN_STREAM,
        Outcome.NOT_BLIND,
        Outcome.FROM_THE_FUTURE,
        Outcome.MALFORMED,
    }
)
_WAITING = (Outcome.UNKNOWN_EVENT, Outcome.UNKNOWN_CLASS, Outcome.FROM_THE_FUTURE)  # may turn out to be good later


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one label."""

    outcome: Outcome
    reason: str  # in words, empty where nothing is wrong
    label: Label | None  # None where it could not be read
    withdrawn: int = 0  # exemplars of this event that were taken out, because their label no longer stands

    @property
    def quarantined(self) -> bool:
        """Set aside with its reason; it teaches nothing as it is."""
        return self.outcome in QUARANTINED


class LabelIntake:
    """Judges labels and writes them to the store, each in one transaction. One thread uses it.

    A contradicting label is kept beside the other: neither teaches until one of the labellers corrects himself.
    """

    def __init__(self, store: SupportStore, *, classes: Collection[str], knows_event: Callable[[str], bool]) -> None:
        self._store = store
        self._classes = frozenset(classes)
        self._knows_event = knows_event
        self.counts: Counter[Outcome] = Counter()

    def take(self, mapping: Mapping[str, Any], *, at: float, where: str = "label") -> Taken:
        """One label as it came from a topic, a request or a file; what cannot be read is quarantined as it is."""
        try:
            label = parse_label(mapping, where=where)
        except DataError as error:
            named = mapping.get("stream")
            odd = isinstance(named, str) and named.strip() not in {"", *Stream}
            outcome = Outcome.UNKNOWN_STREAM if odd else Outcome.MALFORMED
            self._store.labels.quarantine(mapping, outcome=outcome, reason=str(error), at=at)
            self.counts[outcome] += 1
            return Taken(outcome, str(error), label=None)
        return self.take_label(label, at=at)

    def take_label(self, label: Label, *, at: float) -> Taken:
        """One parsed label; `at` is when it came in."""
        return self.take_all((label,), at=at)[0]

    def take_all(self, labels: Iterable[Label], *, at: float) -> tuple[Taken, ...]:
        """Several labels in one transaction: all of them are on disk, or none."""
        with self._store.writing():
            taken = tuple(self._judge(label, at=at) for label in labels)
        self.counts.update(one.outcome for one in taken)  # only what is on disk counts
        return taken

    def reconsider(self, *, at: float) -> tuple[Taken, ...]:
        """Judge again what was set aside because event, class or instant was unknown; what is good now is released."""
        released = list[Taken]()
        with self._store.writing():
            for outcome in _WAITING:
                for row_id, content, _ in self._store.labels.quarantined_rows(outcome):
                    label = parse_label(content)
                    if self._objection(label, at=at) is None:
                        released.append(self._judge(label, at=at))
                        self._store.labels.release(row_id, at=at)
        self.counts.update(one.outcome for one in released)
        return tuple(released)

    def _judge(self, label: Label, *, at: float) -> Taken:
        objection = self._objection(label, at=at)
        if objection is not None:
            return self._set_aside(label, outcome=objection[0], reason=objection[1], at=at)
        before = self._store.labels.of(label.event_id)
        self._store.labels.put(label, at=at)  # a duplicate too: its instant may matter to one that comes later
        if label in before:
            return Taken(Outcome.DUPLICATE, "", label)
        if label.stream is Stream.HONEYPOT:
            return Taken(Outcome.HONEYPOT, "", label)
        return self._compare(label, before=before, at=at)

    def _compare(self, label: Label, *, before: tuple[Label, ...], at: float) -> Taken:
        """A label that is not in `before` with what was said of its event so far."""
        own = [one for one in standing_of(before, event_id=label.event_id).labels if one.labeller == label.labeller]
        if any(label.labelled_at < one.labelled_at for one in own):
            return Taken(Outcome.DUPLICATE, "older than what this labeller said since", label)
        if [one.label for one in own] == [label.label]:
            return Taken(Outcome.DUPLICATE, "", label)
        now = standing_of((*before, label), event_id=label.event_id)
        withdrawn = self._store.withdraw_other(label.event_id, label=now.label, at=at)
        if now.contested:
            others = ", ".join(f"{one.labeller} says {one.label}" for one in now.labels if one != label)
            reason = f"{label.event_id}: {label.labeller} says {label.label}, {others}; one of them has to correct it"
            return self._set_aside(label, outcome=Outcome.CONTRADICTION, reason=reason, at=at, withdrawn=withdrawn)
        if own:
            return Taken(Outcome.CORRECTED, "", label, withdrawn)
        return Taken(Outcome.DOUBLE_LABELLED if now.double_labelled else Outcome.ACCEPTED, "", label, withdrawn)

    def _objection(self, label: Label, *, at: float) -> tuple[Outcome, str] | None:
        where = label.event_id
        if not self._knows_event(label.event_id):
            return Outcome.UNKNOWN_EVENT, f"{where}: expected an event of this line, got one that nobody remembers"
        if label.label not in self._classes:
            known = ", ".join(sorted(self._classes))
            return Outcome.UNKNOWN_CLASS, f"{where}: expected one of {known}, got {label.label}; add the class first"
        if label.stream in BLIND_STREAMS and not label.blind:
            return Outcome.NOT_BLIND, f"{where}: expected a blind {label.stream} label, got one that saw the answer"
        if label.labelled_at > at + CLOCK_TOLERANCE_S:
            ahead = label.labelled_at - at
            return Outcome.FROM_THE_FUTURE, f"{where}: expected a past instant, got {ahead:.0f} s ahead; set the clock"
        return None

    def _set_aside(self, label: Label, *, outcome: Outcome, reason: str, at: float, withdrawn: int = 0) -> Taken:
        self._store.labels.quarantine(label.to_json(), outcome=outcome, reason=reason, at=at)
        return Taken(outcome, reason, label, withdrawn)
