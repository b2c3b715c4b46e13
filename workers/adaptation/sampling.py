"""Pool, draw, ask, wait for the answers, judge: what the gate and the probation have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from pipeline.adaptation.gate.values import LabelBatch, LabelStream
from workers.adaptation.asking import Asking, Part
from workers.adaptation.book import RunBook
from workers.adaptation.questions import Questions, as_batch
from workers.adaptation.tap import Seen
from workers.adaptation.trial import Pool, Trial

log = structlog.get_logger()


class Judge(Protocol):
    """A gate or a probation."""

    def agreed(self, n: int) -> None: ...
    def passed_over(self, n: int) -> None: ...
    def drawn(self, event_ids: Iterable[str]) -> None: ...


class Sampling:
    """One round of questions at a time; frames that pass while people answer are not part of the trial. One thread.

    Rounds are in the run's book, so that a restart feeds the judge what it had been fed before.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        kind: str,
        judge: Judge,
        add: Callable[[LabelBatch], bool],
        asking: Asking,
        book: RunBook,
        index: Mapping[str, int],
    ) -> None:
        """`add` takes a batch of answers and says whether it is believed."""
        self._trial, self._kind, self._judge, self._add = trial, kind, judge, add
        self._asking, self._book, self._index = asking, book, index
        self._doubted: set[str] = set()
        self._waiting = [Questions.from_plain(one) for one in book.read(kind)]
        self.n_rounds = trial.n_pools = len(self._waiting)
        for one in self._waiting:
            self._feed(one)

    def take(self, seen: Seen, *, at: float) -> None:
        """Decide a batch twice, unless people are still busy with the last round."""
        if self._waiting:
            return
        pool = self._trial.take(seen, asked=lambda: self._asking.known(at=at))
        if pool is not None:
            self._ask(pool, at=at)

    def look(self, *, at: float) -> None:
        """Hand on what has been answered."""
        while self._waiting:
            questions = self._waiting[0]
            answers = self._asking.answers(questions, at=at)
            if answers is None:
                return
            batch = as_batch(questions, answers=answers, index=self._index, stream=LabelStream.GATE)
            if not self._add(batch) and questions.name not in self._doubted:
                self._doubted.add(questions.name)
                self._asking.second_opinion(questions, at=at)
                self._waiting[0] = replace(questions, expires_at=at + questions.expires_at - questions.asked_at)
                log.warning("labels doubted, a second person is asked", batch=questions.name, n=len(questions.parts))
                return
            self._waiting.pop(0)

    def _ask(self, pool: Pool, *, at: float) -> None:
        parts = {
            one.event_id: Part(found.prediction, found.embedding, found.picture)
            for one in pool.drawn
            for found in (pool.differing[one.event_id],)
        }
        name = f"{self._kind}-{self.n_rounds + 1}"
        asked = self._asking.ask(name=name, choices=pool.drawn, parts=parts, seed=self.n_rounds, at=at)
        if len(asked.parts) < len(pool.drawn):  # what was asked of this pool is no fair share: it does not count
            log.warning("a round left out: too many questions for now", batch=name)
            return
        drawn = {
            one: replace(own, champion=found.champion, challenger=found.challenger, confidence=found.confidence)
            for one, own in asked.parts.items()
            for found in (pool.differing[one],)
        }
        n_passed = len(pool.differing) - len(drawn)
        done = replace(asked, parts=drawn, n_agreed=pool.n_agreed, n_passed_over=n_passed)
        self._book.write(self._kind, **done.to_plain())
        self.n_rounds += 1
        self._waiting.append(done)
        self._feed(done)

    def _feed(self, one: Questions) -> None:
        self._judge.agreed(one.n_agreed)
        self._judge.passed_over(one.n_passed_over)
        self._judge.drawn(one.parts)
