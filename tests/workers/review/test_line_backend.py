"""What the page does to a line with adaptation is on record; what it says of drift and of the day is true."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError
from pipeline.heads.bundles import registry
from tests.fakes import FakeClock
from tests.making import make_prediction
from tests.workers.adaptation.world import CLASSES, INFO
from tests.workers.review.reviewed_line import ReviewedLine
from workers.adaptation.requests import RequestKind, submit
from workers.commands.adaptation_opening import read_audit
from workers.review.answers import Answers
from workers.review.backend import Harm
from workers.review.drift_facts import DriftFacts, Needs, harm_of

GOOD = frozenset({"ok"})
NEEDS = Needs(teach=64, gate=300, reference_parts=20_000, probation_parts=5_000)


@pytest.fixture
def line(tmp_path: Path) -> ReviewedLine:
    return ReviewedLine(tmp_path)


def test_a_promotion_from_the_page_is_in_log_pointer_and_journal(line: ReviewedLine) -> None:
    files = line.world.files
    line.backend.promote(2, who="aoki")
    assert line.world.live.decider.identity.version == 1, "the loop moves heads, not the page"
    line.settle()
    assert line.world.live.decider.identity.version == 2
    assert registry.live_version(line.world.heads)[0] == 2
    state = Journal(files.state).read()
    assert state is not None
    assert (state.champion, state.previous, state.state) == (2, 1, State.COMMISSIONING)
    record = next(one for one in read_audit(files.audit) if one.kind == "request promote")
    assert (record.actor, record.payload["version"]) == ("aoki", 2)
    assert verify(files.audit).ok


def test_a_bundle_that_is_broken_is_neither_offered_nor_taken(line: ReviewedLine) -> None:
    path = registry.bundle_path(line.world.heads, version=2)
    path.write_bytes(path.read_bytes()[:-9])
    assert [row.version for row in line.backend.heads().rows] == [1]
    with pytest.raises(DataError):
        line.backend.promote(2, who="aoki")
    submit(line.world.files, kind=RequestKind.PROMOTE, by="aoki", at=line.world.clock.utc(), version=2)
    line.settle()
    assert line.world.live.decider.identity.version == 1
    assert line.world.state is not State.HOLD


def test_nothing_is_promoted_on_hold(line: ReviewedLine) -> None:
    line.backend.freeze("aoki")
    line.settle()
    assert not any(row.may_promote for row in line.backend.heads().rows)
    submit(line.world.files, kind=RequestKind.PROMOTE, by="aoki", at=line.world.clock.utc(), version=2)
    line.settle()
    assert line.world.live.decider.identity.version == 1


def test_reasons_outlive_a_change_of_the_head_and_name_the_one_that_decided(line: ReviewedLine) -> None:
    event_id = line.backend.wall()[0].event_id
    assert event_id is not None
    line.backend.promote(2, who="aoki")
    line.settle()
    line.feed(1)
    before, after = line.backend.why(event_id), line.backend.why(line.backend.wall()[0].event_id or "")
    assert before is not None
    assert after is not None
    assert (before.head_version, after.head_version) == (1, 2)


def test_a_part_that_left_the_wall_is_explained_from_the_recording(line: ReviewedLine) -> None:
    seen = line.feed(1)
    one = next(one for one in seen.predictions if line.wall.shown(one.ref.event_id) is None)
    why = line.backend.why(one.ref.event_id)
    assert why is not None
    assert (why.label, why.captured_at, why.head_version) == (one.label, one.ref.captured_at, 1)
    assert why.confidence == pytest.approx(one.confidence, abs=2e-3)
    assert why.decision is None, "nobody has kept what was decided"


def test_a_day_ends_where_the_clocks_of_the_plant_say(tmp_path: Path) -> None:
    zone, store = ZoneInfo("Europe/Berlin"), SupportStore(tmp_path / "support.sqlite", encoder=INFO)
    long_day = 1_761_429_600.0  # 2025-10-26 00:00 in Berlin, a day of 25 hours
    for n, hours in enumerate((0.5, 24.5, 25.5)):
        label = Label(
            f"cap-01-1-{n}-full", CLASSES[0], "ann", long_day + hours * 3600, Stream.AUDIT, 0.1, True, CLASSES[0]
        )
        store.labels.put(label, at=label.labelled_at)
    answers = Answers(store, classes=CLASSES, knows_event=lambda _: True, clock=FakeClock(), zone=zone)
    assert answers.confusion(date(2025, 10, 26)).n_labels == 2
    assert answers.confusion(date(2025, 10, 27)).n_labels == 1
    answers.close()


def _lines(facts: DriftFacts, *, state: State) -> dict[str, tuple[State, Cause | None]]:
    run = RunState("demo", champion=1, entered_at=5.0, last_at=5.0, state=state)
    lines = facts.lines(["cap-01", "cap-02"], state=run, needs=NEEDS, n_labels=3, audited={}, good=GOOD)
    return {one.camera: (one.state, one.cause) for one in lines}


def test_a_cause_belongs_to_its_camera_until_the_line_is_calm_again() -> None:
    facts = DriftFacts(clock=FakeClock())
    facts.hear("drift", {"source_id": "cap-02", "cause": "blur"})
    assert _lines(facts, state=State.LABELLING) == {
        "cap-01": (State.MONITORING, None),
        "cap-02": (State.LABELLING, Cause.BLUR),
    }
    assert _lines(facts, state=State.APPROVAL)["cap-01"] == (State.APPROVAL, None)  # all cameras share the head
    facts.hear("heads", {"after": "monitoring"})
    assert _lines(facts, state=State.MONITORING)["cap-02"] == (State.MONITORING, None)


def test_parts_are_counted_from_the_last_change_of_state() -> None:
    facts = DriftFacts(clock=FakeClock())
    facts.count([make_prediction(n) for n in range(5)])
    facts.hear("heads", {"after": "probation"})
    facts.count([make_prediction(n) for n in range(3)])
    run = RunState("demo", champion=2, entered_at=5.0, last_at=5.0, state=State.PROBATION, on_probation=True)
    (one,) = facts.lines(["cap-01"], state=run, needs=NEEDS, n_labels=0, audited={}, good=GOOD)
    assert (one.n_parts, one.n_parts_needed, one.head_version) == (3, 5_000, 2)


@pytest.mark.parametrize(
    ("n_right", "n_wrong", "harm"),
    [
        (0, 0, Harm.UNKNOWN),
        (5, 0, Harm.UNKNOWN),
        (30, 0, Harm.NONE_SO_FAR),
        (30, 1, Harm.NONE_SO_FAR),
        (20, 5, Harm.MEASURED),
    ],
)
def test_harm_is_what_labels_of_random_parts_say(n_right: int, n_wrong: int, harm: Harm) -> None:
    labels = [
        Label(str(n), "dent" if n < n_wrong else "ok", "ann", 1.0, Stream.AUDIT, 0.1, True, "ok")
        for n in range(n_right + n_wrong)
    ]
    assert harm_of(labels, good=GOOD, heard=False) is harm
    assert harm_of(labels, good=GOOD, heard=True) is Harm.MEASURED
