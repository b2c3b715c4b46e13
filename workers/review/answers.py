"""Questions and labels of the support store, as the review page needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

import numpy as np

from pipeline.adaptation.support.intake import LabelIntake, Taken
from pipeline.adaptation.support.label_queue import LabelQueue, Question
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError
from pipeline.interfaces import Clock
from pipeline.types import Prediction
from workers.review.backend import ConfusionDay, LabelAnswer, Queue, QueueItem

MANY = 100_000  # questions one person is counted


class Answers:
    """Any thread may call; one at a time is let in."""

    def __init__(
        self,
        store: SupportStore,
        *,
        classes: Sequence[str],
        knows_event: Callable[[str], bool],
        clock: Clock,
        zone: tzinfo | None,
        on_labelled: Callable[[str], None] = lambda _event_id: None,
        seen: Callable[[str], Prediction | None] = lambda _event_id: None,
    ) -> None:
        """`on_labelled` is told the event of each label that was taken; `seen` is what was decided of a part."""
        self._seen = seen
        self._store, self._classes, self._clock, self._zone = store, tuple(classes), clock, zone
        self._queue = LabelQueue(store.database)
        self._intake = LabelIntake(
            store, classes=classes, knows_event=lambda event_id: self._queue.knows(event_id) or knows_event(event_id)
        )
        self._on_labelled = on_labelled
        self._skipped: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def queue(self, labeller: str, *, limit: int) -> Queue:
        """What this person may answer, without what they skipped."""
        with self._lock:
            open_now = self._open(labeller)
        return Queue(tuple(self._item(one) for one in open_now[:limit]), len(open_now))

    def answer(self, event_id: str, *, label: str, labeller: str) -> LabelAnswer:
        """Raises DataError where there is no such question or class, or it is too late."""
        if label not in self._classes:
            raise DataError(f"label: expected one of {', '.join(self._classes)}, got {label}")
        now = self._clock.utc()
        with self._lock:
            given = self._queue.answer(
                self._number(event_id, labeller=labeller), label=label, labeller=labeller, at=now
            )
            taken = self._intake.take_label(given, at=now)
        return self._told(taken, event_id=event_id)

    def skip(self, event_id: str, *, labeller: str) -> None:
        """Until the process ends. Raises DataError where there is no such question."""
        with self._lock:
            self._number(event_id, labeller=labeller)
            self._skipped.setdefault(labeller, set()).add(event_id)

    def take(self, labels: Sequence[Mapping[str, Any]]) -> tuple[LabelAnswer, ...]:
        """Labels that were not asked for here."""
        now = self._clock.utc()
        with self._lock:
            taken = [self._intake.take(one, at=now) for one in labels]
        return tuple(
            self._told(one, event_id=str(label.get("event_id", ""))) for one, label in zip(taken, labels, strict=True)
        )

    def confusion(self, day: date) -> ConfusionDay:
        """Of the audit: parts drawn by chance."""
        begins, ends = (  # a day may have 23 or 25 hours
            datetime.combine(one, time.min, tzinfo=self._zone).timestamp() for one in (day, day + timedelta(days=1))
        )
        counts = np.zeros((len(self._classes), len(self._classes)), np.int64)
        index = {name: number for number, name in enumerate(self._classes)}
        with self._lock:
            for one in self._store.labels.since(begins, stream=Stream.AUDIT):
                if one.labelled_at < ends and one.label in index and one.model_label in index:
                    counts[index[one.label], index[one.model_label]] += 1
        return ConfusionDay(day, self._classes, tuple(tuple(map(int, row)) for row in counts))

    def is_blind(self, event_id: str) -> bool:
        """A question whose answer must not be given away is open."""
        with self._lock:
            return any(one.event_id == event_id and one.model_label is None for one in self._open(""))

    def audited(self, *, since: float) -> dict[str, list[Label]]:
        """Labels of parts drawn by chance, by camera."""
        found: dict[str, list[Label]] = {}
        with self._lock:
            for one in self._store.labels.since(since, stream=Stream.AUDIT):
                found.setdefault(camera_of(one.event_id), []).append(one)
        return found

    def n_answered(self, *, since: float, stream: Stream) -> int:
        """Labels of a stream that came in since an instant."""
        with self._lock:
            return sum(1 for _ in self._store.labels.since(since, stream=stream))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._store.close()

    def _told(self, taken: Taken, *, event_id: str) -> LabelAnswer:
        if not taken.quarantined:
            self._on_labelled(event_id)
        return LabelAnswer(event_id, taken.outcome.value, taken.reason, taken.quarantined)

    def _item(self, one: Question) -> QueueItem:
        """Captured when it was asked about, where nobody remembers more."""
        seen = self._seen(one.event_id)
        blind = one.model_label is None
        return QueueItem(
            event_id=one.event_id,
            camera=camera_of(one.event_id),
            captured_at=one.asked_at if seen is None else seen.ref.captured_at,
            blind=blind,
            model_label=one.model_label,
            model_confidence=None if blind or seen is None else seen.confidence,
        )

    def _open(self, labeller: str) -> list[Question]:
        skipped = self._skipped.get(labeller, set())
        found = self._queue.questions(labeller=labeller, at=self._clock.utc(), limit=MANY)
        return [one for one in found if one.event_id not in skipped]

    def _number(self, event_id: str, *, labeller: str) -> int:
        """Of an open question, or of one this person answered and corrects."""
        rows = self._store.database.execute(
            "SELECT requests.id FROM requests LEFT JOIN answers ON request_id = requests.id AND labeller = ? "
            "WHERE event_id = ? ORDER BY answers.request_id IS NULL, asked_at DESC LIMIT 1",
            labeller,
            event_id,
        )
        if not rows:
            raise DataError(f"{event_id}: expected an open question, got none; load the queue again")
        return int(rows[0][0])


def camera_of(event_id: str) -> str:
    """An event id ends in epoch, sequence and region."""
    return event_id.rsplit("-", 3)[0]
