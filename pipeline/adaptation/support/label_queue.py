"""Open questions to the labellers, in the store's file: who was asked what, until when, and what they answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.adaptation.support.choosing import Choice
from pipeline.adaptation.support.database import Database
from pipeline.adaptation.support.exemplars import Float16Array
from pipeline.adaptation.support.labels import BLIND_STREAMS, Label, Stream
from pipeline.errors import DataError

DAY_S, HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much people are asked; a quota counts requests, honeypots included."""

    per_hour: int = 120
    per_day: int = 600
    open_at_once: int = 400


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A choice, with what the labeller and the store will need later: the recording may have forgotten it by then."""

    choice: Choice
    model_label: str | None = None
    evidence: str | None = None  # where its picture lies
    embedding: Float16Array | None = None  # (D,)
    n_labellers: int = 1  # 2 for a part that two people have to agree on


@dataclass(frozen=True, slots=True)
class Question:
    """What a labeller is shown: nothing tells a honeypot, or the head's answer where that would bias."""

    request_id: int
    event_id: str
    evidence: str | None
    model_label: str | None  # None where the answer has to be blind
    asked_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a batch of requests."""

    n_asked: int
    n_known: int  # asked before, in this or another stream: the streams are disjoint
    n_over_quota: int


@dataclass(frozen=True, slots=True)
class HoneypotResult:
    """How one labeller did on parts of known class."""

    labeller: str
    n_answers: int
    n_wrong: int


_OPEN = (
    "expires_at > ? AND (SELECT count(*) FROM answers WHERE request_id = requests.id) < n_labellers AND asked_at <= ?"
)


class LabelQueue:
    """Requests and answers. One thread uses it; other processes may use the same file."""

    def __init__(self, database: Database, *, quotas: Quotas | None = None) -> None:
        self._database = database
        self._quotas = quotas or Quotas()

    def ask(self, requests: Sequence[Request], *, at: float, expires_after_s: float = DAY_S) -> Asked:
        """Put questions, in the given order, as far as the quotas go; an event is asked about once.

        Honeypots may be asked about again: what they are is known.
        """
        n_known, taken = 0, list[Request]()
        with self._database.writing():
            left = self._left(at=at)
            for one in requests:
                if one.choice.stream is not Stream.HONEYPOT and self.knows(one.choice.event_id):
                    n_known += 1
                elif len(taken) < left:
                    self._insert(one, at=at, expires_at=at + expires_after_s, place=len(taken))
                    taken.append(one)
        return Asked(n_asked=len(taken), n_known=n_known, n_over_quota=len(requests) - n_known - len(taken))

    def knows(self, event_id: str) -> bool:
        """Was it ever asked about? What `LabelIntake` needs as `knows_event`, beside the recording."""
        return bool(self._database.execute("SELECT 1 FROM requests WHERE event_id = ? LIMIT 1", event_id))

    def asked_since(self, instant: float) -> frozenset[str]:
        """Events that no other stream may choose."""
        rows = self._database.execute("SELECT event_id FROM requests WHERE asked_at >= ?", instant)
        return frozenset(str(event_id) for (event_id,) in rows)

    def questions(self, *, labeller: str, at: float, limit: int = 16) -> tuple[Question, ...]:
        """What this labeller may answer now, oldest first; never the same part twice."""
        rows = self._database.execute(
            f"SELECT id, event_id, evidence, model_label, asked_at, expires_at, blind FROM requests WHERE {_OPEN} "
            "AND NOT EXISTS (SELECT 1 FROM answers WHERE request_id = requests.id AND labeller = ?) "
            "ORDER BY asked_at, place LIMIT ?",
            at,
            at,
            labeller,
            limit,
        )
        return tuple(
            Question(request_id, event_id, evidence, None if blind else model_label, asked_at, expires_at)
            for request_id, event_id, evidence, model_label, asked_at, expires_at, blind in rows
        )

    def answer(self, request_id: int, *, label: str, labeller: str, at: float) -> Label:
        """The label that goes to `LabelIntake`. The same person may answer again: that corrects the first.

        Raises DataError where there is no such request, it expired, or others have answered it.
        """
        with self._database.writing():
            rows = self._database.execute(
                "SELECT event_id, stream, expires_at, blind, inclusion_probability, model_label, n_labellers "
                "FROM requests WHERE id = ?",
                request_id,
            )
            where = f"request {request_id}"
            if not rows:
                raise DataError(f"{where}: expected an open request, got none of that number; load the questions again")
            event_id, stream, expires_at, blind, probability, model_label, n_labellers = rows[0]
            if at >= expires_at:
                raise DataError(f"{where}: expected an answer in time, got one {at - expires_at:.0f} s late; skip it")
            answered = {
                name
                for (name,) in self._database.execute("SELECT labeller FROM answers WHERE request_id = ?", request_id)
            }
            if labeller not in answered and len(answered) >= n_labellers:
                raise DataError(f"{where}: expected an open request, got one answered by {', '.join(sorted(answered))}")
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", request_id, labeller, label, at
            )
        return Label(event_id, label, labeller, at, Stream(stream), probability, bool(blind), model_label)

    def embedding(self, event_id: str) -> Float16Array | None:
        """What the encoder saw when the question was asked, (D,); None where it was not kept."""
        rows = self._database.execute(
            "SELECT embedding FROM requests WHERE event_id = ? AND embedding IS NOT NULL LIMIT 1", event_id
        )
        return np.frombuffer(rows[0][0], np.float16) if rows else None

    def honeypots(self, *, since: float) -> tuple[HoneypotResult, ...]:
        """Answers to parts of known class since an instant, by labeller."""
        rows = self._database.execute(
            "SELECT labeller, count(*), sum(label <> truth) FROM answers JOIN requests ON id = request_id "
            "WHERE truth IS NOT NULL AND answered_at >= ? GROUP BY labeller ORDER BY labeller",
            since,
        )
        return tuple(HoneypotResult(str(name), int(n), int(wrong)) for name, n, wrong in rows)

    def n_open(self, *, at: float) -> dict[Stream, int]:
        """Open requests by stream; honeypots count where they hide, as a labeller sees it."""
        sql = f"SELECT coalesce(mixed_into, stream), count(*) FROM requests WHERE {_OPEN} GROUP BY 1"
        return {Stream(stream): int(n) for stream, n in self._database.execute(sql, at, at)}

    def n_expired(self, *, since: float, at: float) -> int:
        """Requests that ran out between two instants without enough answers."""
        rows = self._database.execute(
            "SELECT count(*) FROM requests WHERE expires_at > ? AND expires_at <= ? "
            "AND (SELECT count(*) FROM answers WHERE request_id = requests.id) < n_labellers",
            since,
            at,
        )
        return int(rows[0][0])

    def _left(self, *, at: float) -> int:
        """How many more may be asked at that instant."""

        def asked(span_s: float) -> int:
            sql = "SELECT count(*) FROM requests WHERE asked_at > ? AND asked_at <= ?"
            return int(self._database.execute(sql, at - span_s, at)[0][0])

        n_open = sum(self.n_open(at=at).values())
        quotas = self._quotas
        room = (quotas.per_hour - asked(HOUR_S), quotas.per_day - asked(DAY_S), quotas.open_at_once - n_open)
        return max(0, min(room))

    def _insert(self, one: Request, *, at: float, expires_at: float, place: int) -> None:
        choice = one.choice
        stream = choice.mixed_into or choice.stream
        values: tuple[Any, ...] = (
            choice.event_id,
            choice.stream.value,
            None if choice.mixed_into is None else choice.mixed_into.value,
            choice.truth,
            at,
            expires_at,
            int(stream in BLIND_STREAMS),
            choice.inclusion_probability,
            one.model_label,
            one.evidence,
            None if one.embedding is None else one.embedding.tobytes(),
            one.n_labellers,
            place,
        )
        self._database.execute(
            "INSERT INTO requests (event_id, stream, mixed_into, truth, asked_at, expires_at, blind, "
            "inclusion_probability, model_label, evidence, embedding, n_labellers, place) "
            f"VALUES ({', '.join('?' * len(values))})",
            *values,
        )
