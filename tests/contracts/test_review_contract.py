"""What every ReviewBackend does, the fake included."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from pipeline.errors import ClearlineError, DataError
from tests.workers.review.fake_backend import FakeBackend
from tests.workers.review.reviewed_line import ReviewedLine
from workers.review.backend import ReviewBackend


@dataclass
class Bench:
    """A line with questions to ask, blind ones and others, and heads of which one may be promoted."""

    backend: ReviewBackend
    n_questions: int  # at least 4 open ones, for everybody
    day: date  # on which people labelled
    settle: Callable[[], None] = lambda: None  # time passes, and what was asked for happens

    def ids(self, labeller: str = "liu") -> list[str]:
        return [item.event_id for item in self.backend.queue(labeller, limit=1000).items]

    @property
    def label(self) -> str:
        return self.backend.classes()[0].class_id

    @property
    def other_label(self) -> str:
        return self.backend.classes()[1].class_id


def _fake(tmp_path: Path) -> Bench:
    backend = FakeBackend()
    return Bench(backend, n_questions=12, day=backend.day.day)


def _line(tmp_path: Path) -> Bench:
    line = ReviewedLine(tmp_path)
    return Bench(line.backend, n_questions=line.n_questions, day=line.day, settle=line.settle)


BENCHES: dict[str, Callable[[Path], Bench]] = {"fake": _fake, "line": _line}


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return BENCHES[request.param](tmp_path)


def test_the_wall_names_each_camera_once_and_always_in_the_same_order(bench: Bench) -> None:
    cameras = [tile.camera for tile in bench.backend.wall()]
    assert cameras == [tile.camera for tile in bench.backend.wall()]
    assert len(set(cameras)) == len(cameras) > 0


def test_what_the_wall_shows_has_a_picture_and_an_unknown_event_has_none(bench: Bench) -> None:
    shown = [tile.event_id for tile in bench.backend.wall() if tile.event_id]
    assert shown
    for event_id in shown:
        assert (bench.backend.picture(event_id) or b"").startswith((b"\xff\xd8\xff", b"\x89PNG"))
    assert bench.backend.picture("nobody-1-2-full") is None


def test_labels_on_the_wall_are_classes_a_person_may_choose(bench: Bench) -> None:
    classes = {row.class_id for row in bench.backend.classes()}
    assert {tile.label for tile in bench.backend.wall() if tile.label} <= classes


def test_the_queue_gives_at_most_the_limit_and_says_how_many_wait(bench: Bench) -> None:
    queue = bench.backend.queue("liu", limit=3)
    assert (len(queue.items), queue.n_waiting) == (3, bench.n_questions)
    assert all(bench.backend.picture(item.event_id) for item in queue.items)


def test_blind_questions_have_no_answer_of_the_line_and_no_reasons(bench: Bench) -> None:
    items = bench.backend.queue("liu", limit=1000).items
    blind = [item for item in items if item.blind]
    assert blind
    assert any(not item.blind for item in items)
    assert {(item.model_label, item.model_confidence) for item in blind} == {(None, None)}
    assert [bench.backend.why(item.event_id) for item in blind] == [None] * len(blind)


def test_nobody_is_asked_twice(bench: Bench) -> None:
    first, second, *rest = bench.ids()
    bench.backend.answer(first, label=bench.label, labeller="liu")
    bench.backend.skip(second, labeller="liu")
    assert bench.ids() == rest
    assert second in bench.ids("aoki")


def test_the_same_person_may_correct_himself_and_answer_after_skipping(bench: Bench) -> None:
    first, second = bench.ids()[:2]
    assert not bench.backend.answer(first, label=bench.label, labeller="liu").quarantined
    bench.settle()
    answer = bench.backend.answer(first, label=bench.other_label, labeller="liu")
    assert (answer.event_id, answer.outcome, answer.quarantined) == (first, "corrected", False)
    bench.backend.skip(second, labeller="liu")
    assert not bench.backend.answer(second, label=bench.label, labeller="liu").quarantined


def test_what_was_not_asked_or_is_no_class_is_refused(bench: Bench) -> None:
    event_id = bench.ids()[0]
    with pytest.raises(DataError):
        bench.backend.answer("nobody-1-2-full", label=bench.label, labeller="liu")
    with pytest.raises(DataError):
        bench.backend.answer(event_id, label="no such class", labeller="liu")
    with pytest.raises(DataError):
        bench.backend.skip("nobody-1-2-full", labeller="liu")
    assert event_id in bench.ids()


def test_labels_from_elsewhere_are_answered_one_by_one_in_order(bench: Bench) -> None:
    known = next(tile.event_id for tile in bench.backend.wall() if tile.event_id)
    good = {"event_id": known, "label": bench.label, "labeller": "mes", "labelled_at": 1.6e9, "stream": "teach"}
    answers = bench.backend.take_labels([{**good, "event_id": "nobody"}, {}, good], sender="mes")
    assert [(one.outcome, one.quarantined) for one in answers] == [
        ("unknown_event", True),
        ("malformed", True),
        ("accepted", False),
    ]


def test_reasons_are_those_of_the_answer_that_was_given(bench: Bench) -> None:
    tile = next(tile for tile in bench.backend.wall() if tile.event_id and bench.backend.why(tile.event_id))
    assert tile.event_id is not None
    why = bench.backend.why(tile.event_id)
    assert why is not None
    assert (why.event_id, why.camera, why.label, why.decision) == (
        tile.event_id,
        tile.camera,
        tile.label,
        tile.decision,
    )
    assert why.confidence == tile.confidence
    assert why.rival != why.label
    assert why.head_version == bench.backend.heads().live
    pictured = [one.picture for one in why.support if one.picture is not None]
    assert pictured
    assert all(bench.backend.picture(name) for name in pictured)


def test_an_unknown_event_has_no_reasons(bench: Bench) -> None:
    assert bench.backend.why("nobody-1-2-full") is None


def test_the_confusion_of_a_day_is_square_and_empty_where_nobody_labelled(bench: Bench) -> None:
    found = bench.backend.confusion(bench.day)
    assert found.day == bench.day
    assert found.n_labels > 0
    assert {len(found.counts), *map(len, found.counts)} == {len(found.classes)}
    assert bench.backend.confusion(date(1999, 1, 1)).n_labels == 0


def test_every_camera_of_the_wall_has_one_line_of_drift(bench: Bench) -> None:
    assert [line.camera for line in bench.backend.drift()] == [tile.camera for tile in bench.backend.wall()]


def test_a_promoted_head_is_live_and_can_be_rolled_back(bench: Bench) -> None:
    before = bench.backend.heads()
    version = next(row.version for row in before.rows if row.may_promote)
    bench.backend.promote(version, who="aoki")
    bench.settle()
    after = bench.backend.heads()
    assert (after.live, after.roll_back_to) == (version, before.live)
    bench.backend.roll_back("aoki")
    bench.settle()
    assert bench.backend.heads().live == before.live


def test_nothing_is_rolled_back_to_where_no_head_was_live_before(bench: Bench) -> None:
    if bench.backend.heads().roll_back_to is not None:
        bench.backend.roll_back("aoki")
        bench.settle()
    live = bench.backend.heads().live
    with pytest.raises(ClearlineError):
        bench.backend.roll_back("aoki")
    assert bench.backend.heads().live == live


def test_what_may_be_promoted_is_neither_live_nor_on_offer_twice(bench: Bench) -> None:
    heads = bench.backend.heads()
    assert [row.version for row in heads.rows] == sorted({row.version for row in heads.rows}, reverse=True)
    live = next(row for row in heads.rows if row.version == heads.live)
    assert not live.may_promote
    with pytest.raises(ClearlineError):
        bench.backend.promote(heads.live, who="aoki")


def test_a_version_that_is_not_there_is_refused_and_the_live_one_stays(bench: Bench) -> None:
    live = bench.backend.heads().live
    for call in (bench.backend.approve, bench.backend.promote):
        with pytest.raises(ClearlineError):
            call(999_999, who="aoki")
    bench.settle()
    assert bench.backend.heads().live == live


def test_frozen_is_frozen_until_somebody_thaws(bench: Bench) -> None:
    bench.backend.freeze("aoki")
    bench.settle()
    heads = bench.backend.heads()
    assert (heads.frozen, heads.frozen_by) == (True, "aoki")
    assert heads.frozen_reason
    bench.backend.thaw("aoki")
    bench.settle()
    assert not bench.backend.heads().frozen


def test_many_threads_may_ask_and_answer_at_once(bench: Bench) -> None:
    ids = bench.ids()

    def work(event_id: str) -> None:
        bench.backend.wall()
        bench.backend.answer(event_id, label=bench.label, labeller="liu")
        bench.backend.queue("liu", limit=4)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, ids))
    assert bench.ids() == []
