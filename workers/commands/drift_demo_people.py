"""Who judges and who labels in `clearline drift demo`: a sink that knows the truth, and people who ask it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from pipeline.adaptation.support.intake import LabelIntake
from pipeline.adaptation.support.label_queue import LabelQueue
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.types import DeadLetter, Prediction
from workers.clock import SystemClock

PEOPLE = ("ann", "bob", "cleo")
ANSWERS = 3  # of one person at a time
LABEL_S = 0.2  # between two looks at the questions


class Tallying:
    """A sink that remembers of each part whether it was right, and knows the truth for the labellers."""

    name = "tallying"

    def __init__(self) -> None:
        self.truths: dict[str, str] = {}
        self.right: list[bool] = []
        self.versions: list[int] = []

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Count them."""
        for one in predictions:
            truth = one.ref.truth or ""
            self.truths[one.ref.event_id] = truth
            self.right.append(one.label == truth)
            self.versions.append(one.head_version)

    def dead_letter(self, letter: DeadLetter) -> None:
        """There are none."""

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


class Oracle:
    """Three labellers who know the simulator's truth, in a thread and on a connection of their own."""

    def __init__(self, path: Path, *, encoder: EncoderBundle, classes: Sequence[str], tallying: Tallying) -> None:
        self._path, self._encoder, self._classes, self._tallying = path, encoder, classes, tallying
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oracle", daemon=True)
        self.n_labels = 0
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        clock = SystemClock()
        try:
            with SupportStore(self._path, encoder=self._encoder.image.info) as store:
                queue = LabelQueue(store.database)
                intake = LabelIntake(store, classes=self._classes, knows_event=queue.knows)
                while not self._closing.wait(LABEL_S):
                    for who in PEOPLE:
                        self._answer(who, queue=queue, intake=intake, at=clock.utc(), store=store)
        except BaseException as error:  # the demonstration has to say why nobody answers any more
            self.failure = error
            raise

    def _answer(self, who: str, *, queue: LabelQueue, intake: LabelIntake, at: float, store: SupportStore) -> None:
        for question in queue.questions(labeller=who, at=at, limit=ANSWERS):
            truth = self._tallying.truths.get(question.event_id) or _founder(store, question.event_id)
            if truth is not None:
                intake.take_label(queue.answer(question.request_id, label=truth, labeller=who, at=at), at=at)
                self.n_labels += 1


def _founder(store: SupportStore, event_id: str) -> str | None:
    rows = store.database.execute("SELECT label FROM exemplars WHERE event_id = ? AND role = 'founder'", event_id)
    return str(rows[0][0]) if rows else None
