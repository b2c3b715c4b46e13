"""Questions are open until somebody answers or their time runs out; nobody sees what would bias the answer."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pipeline.adaptation.support.choosing import Choice
from pipeline.adaptation.support.intake import LabelIntake, Outcome
from pipeline.adaptation.support.label_queue import LabelQueue, Question, Quotas, Request
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError
from tests.adaptation.support.making_support import CLASSES, NOW, open_store, unit

DAY = 86_400.0


def request(event_id: str, *, stream: Stream = Stream.TEACH, truth: str | None = None, n_labellers: int = 1) -> Request:
    mixed = Stream.GATE if truth else None
    choice = Choice(event_id, stream, "margin", 0.25, truth=truth, mixed_into=mixed)
    picture = f"{event_id}.jpg"
    vector = unit(1).astype(np.float16)
    return Request(choice, model_label="ok", evidence=picture, embedding=vector, n_labellers=n_labellers)


def queue(store: SupportStore, **quotas: int) -> LabelQueue:
    return LabelQueue(store.database, quotas=Quotas(**quotas))


def test_an_answer_becomes_a_label_that_the_intake_takes(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        assert line.ask([request("e1")], at=NOW).n_asked == 1
        (question,) = line.questions(labeller="ada", at=NOW + 1)
        given = line.answer(question.request_id, label="dent", labeller="ada", at=NOW + 5)
        assert given == Label("e1", "dent", "ada", NOW + 5, Stream.TEACH, 0.25, False, "ok")
        desk = LabelIntake(store, classes=CLASSES, knows_event=line.knows)
        assert desk.take_label(given, at=NOW + 5).outcome is Outcome.ACCEPTED
        assert line.questions(labeller="ben", at=NOW + 6) == ()
        embedding = line.embedding("e1")
        assert embedding is not None
        assert embedding.tobytes() == unit(1).astype(np.float16).tobytes()
        assert line.embedding("e2") is None


def test_questions_come_in_the_order_they_were_asked(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("z"), request("a")], at=NOW)
        line.ask([request("m")], at=NOW + 1)
        asked = line.questions(labeller="ada", at=NOW + 2)
        assert [one.event_id for one in asked] == ["z", "a", "m"]
        assert len(line.questions(labeller="ada", at=NOW + 2, limit=2)) == 2


@pytest.mark.parametrize(("stream", "shown"), [(Stream.TEACH, "ok"), (Stream.AUDIT, None), (Stream.GATE, None)])
def test_the_heads_answer_is_shown_only_where_it_does_not_bias(
    tmp_path: Path, stream: Stream, shown: str | None
) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1", stream=stream)], at=NOW)
        (question,) = line.questions(labeller="ada", at=NOW)
        assert question.model_label == shown
        given = line.answer(question.request_id, label="ok", labeller="ada", at=NOW)
        assert (given.blind, given.model_label) == (shown is None, "ok")


def test_a_honeypot_looks_like_any_other_question_of_its_stream(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1", stream=Stream.GATE), request("k1", stream=Stream.HONEYPOT, truth="dent")], at=NOW)
        plain, honeypot = line.questions(labeller="ada", at=NOW)
        assert {f.name for f in fields(Question)}.isdisjoint({"stream", "truth", "why", "mixed_into"})
        assert plain.model_label is honeypot.model_label is None
        assert line.n_open(at=NOW) == {Stream.GATE: 2}


def test_honeypot_answers_judge_the_labeller(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request(f"k{i}", stream=Stream.HONEYPOT, truth="dent", n_labellers=2) for i in range(3)], at=NOW)
        for name, said in (("ada", "dent"), ("ben", "ok")):
            for question in line.questions(labeller=name, at=NOW):
                given = line.answer(question.request_id, label=said, labeller=name, at=NOW)
                assert given.stream is Stream.HONEYPOT
        results = [(one.labeller, one.n_answers, one.n_wrong) for one in line.honeypots(since=NOW)]
        assert results == [("ada", 3, 0), ("ben", 3, 3)]
        assert line.ask([request("k0", stream=Stream.HONEYPOT, truth="dent")], at=NOW + DAY).n_asked == 1


def test_two_people_are_asked_where_two_have_to_agree(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1", n_labellers=2)], at=NOW)
        (question,) = line.questions(labeller="ada", at=NOW)
        line.answer(question.request_id, label="ok", labeller="ada", at=NOW)
        assert line.questions(labeller="ada", at=NOW) == (), "not the same person twice"
        (again,) = line.questions(labeller="ben", at=NOW)
        line.answer(again.request_id, label="ok", labeller="ben", at=NOW)
        assert line.questions(labeller="cleo", at=NOW) == ()
        with pytest.raises(DataError, match="answered by ada, ben"):
            line.answer(again.request_id, label="ok", labeller="cleo", at=NOW)


def test_a_labeller_may_correct_an_answer(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1")], at=NOW)
        (question,) = line.questions(labeller="ada", at=NOW)
        line.answer(question.request_id, label="ok", labeller="ada", at=NOW)
        assert line.answer(question.request_id, label="dent", labeller="ada", at=NOW + 9).label == "dent"


def test_a_question_runs_out(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1")], at=NOW, expires_after_s=100)
        (question,) = line.questions(labeller="ada", at=NOW + 99)
        assert line.questions(labeller="ada", at=NOW + 100) == ()
        with pytest.raises(DataError, match="got one 5 s late"):
            line.answer(question.request_id, label="ok", labeller="ada", at=NOW + 105)
        assert line.n_expired(since=NOW, at=NOW + 200) == 1
        with pytest.raises(DataError, match="got none of that number"):
            line.answer(99, label="ok", labeller="ada", at=NOW)


def test_an_event_is_asked_about_once_in_one_stream(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        line = queue(store)
        line.ask([request("e1", stream=Stream.AUDIT)], at=NOW)
        again = line.ask([request("e1"), request("e2")], at=NOW + 9 * DAY)
        assert (again.n_asked, again.n_known) == (1, 1)
        assert line.asked_since(NOW) == {"e1", "e2"}


@pytest.mark.parametrize(
    ("quotas", "waits_s", "asked"),
    [({"per_hour": 5}, 3_601, 5), ({"per_day": 7}, DAY + 1, 7), ({"open_at_once": 3}, 2 * DAY, 3)],
)
def test_people_are_not_asked_more_than_the_quota(
    tmp_path: Path, quotas: dict[str, int], waits_s: float, asked: int
) -> None:
    with open_store(tmp_path) as store:
        line = queue(store, **quotas)
        first = line.ask([request(f"a{i}") for i in range(10)], at=NOW)
        assert (first.n_asked, first.n_over_quota) == (asked, 10 - asked)
        assert line.ask([request("b")], at=NOW + 1).n_over_quota == 1
        assert line.ask([request("b")], at=NOW + waits_s).n_asked == 1


def test_questions_survive_a_restart(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        queue(store).ask([request("e1")], at=NOW)
    with open_store(tmp_path) as store:
        assert [one.event_id for one in queue(store).questions(labeller="ada", at=NOW)] == ["e1"]
