"""The whole loop beside a line in embedding space: what drift leads to, and what stops, breaks or poisons it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.states import State
from pipeline.errors import SinkError
from pipeline.heads.bundles import registry
from tests.adaptation.streams import Drift
from tests.workers.adaptation.world import BATCH, BLUR, CLASSES, World
from workers.adaptation.requests import RequestKind, submit

ENDS = (State.PROBATION, State.COOLDOWN, State.HOLD, State.APPROVAL)
LONG = 60_000
HARD_BLUR = Drift(blur=0.7)


@pytest.fixture(scope="module")
def commissioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a head, a healthy recording and its reference; to be copied."""
    folder = tmp_path_factory.mktemp("world")
    world = World(folder)
    world.commission()
    world.close()
    return folder


@pytest.fixture(scope="module")
def built(commissioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a challenger before the gate."""
    folder = tmp_path_factory.mktemp("built") / "world"
    world = again(commissioned, folder)
    world.feed(LONG, drift=BLUR, until=(State.GATING,))
    assert world.state is State.GATING
    world.close()
    return folder


@pytest.fixture
def world(commissioned: Path, tmp_path: Path) -> Iterator[World]:
    one = again(commissioned, tmp_path / "world")
    yield one
    one.close()


@pytest.fixture
def gating(built: Path, tmp_path: Path) -> Iterator[World]:
    one = again(built, tmp_path / "world")
    yield one
    one.close()


def again(folder: Path, copy: Path, *, auto: bool = True) -> World:
    """A copy of a world that has come so far, started again where it stood."""
    shutil.copytree(folder, copy)
    return World(copy, auto=auto)


def restart(world: World) -> None:
    world.close()
    world.open()


def test_a_healthy_line_stays_as_it_is(world: World) -> None:
    world.feed(6_000)
    assert world.states == [State.MONITORING]
    assert world.live_version == 1


def test_blur_is_answered_by_labels_a_challenger_the_gate_and_a_better_head(gating: World) -> None:
    world = gating
    before = world.accuracy(1, drift=BLUR)
    world.feed(LONG, drift=BLUR, until=ENDS)
    assert world.state is State.PROBATION, world.loop.state.reason
    assert world.live_version == 2
    assert world.live.decider.identity.version == 2
    world.feed(LONG, drift=BLUR, until=(State.MONITORING, State.COOLDOWN))
    assert world.state is State.MONITORING, world.loop.state.reason
    assert world.accuracy(2, drift=BLUR) > before
    assert verify(world.files.audit).ok
    world.feed_until_charted(LONG, drift=BLUR)
    assert world.loop.is_charted, "the new head has a reference of its own, of the line as it is now"
    n_states = len(world.states)
    world.feed(4_000, drift=BLUR)
    assert world.states[n_states:] == [], "blur is what is normal now"
    world.feed(LONG, drift=HARD_BLUR, until=(State.LABELLING,))
    assert world.state is State.LABELLING


def test_a_more_accurate_head_that_lets_more_defects_through_is_not_promoted(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "world")
    world = World(tmp_path / "world", good=(CLASSES[0],))
    world.feed(LONG, drift=BLUR, until=ENDS)
    assert world.accuracy(2, drift=BLUR) > world.accuracy(1, drift=BLUR)
    assert world.state is State.COOLDOWN
    assert "G6 cost" in world.loop.state.reason
    assert world.live_version == 1
    world.close()


def test_a_person_approves_where_nothing_goes_by_itself(built: Path, tmp_path: Path) -> None:
    world = again(built, tmp_path / "world", auto=False)
    world.feed(LONG, drift=BLUR, until=ENDS)
    assert world.state is State.APPROVAL, world.loop.state.reason
    assert world.live_version == 1
    submit(world.files, kind=RequestKind.APPROVE, by="ann", at=world.clock.utc(), run=world.loop.state.run)
    world.tick()
    assert world.state is State.PROBATION
    assert world.live_version == 2
    world.close()


def test_a_bad_head_on_probation_is_rolled_back(gating: World) -> None:
    gating.loop.acting.condemn("nothing is on probation yet")
    gating.feed(LONG, drift=BLUR, until=ENDS)
    assert gating.state is State.PROBATION, gating.loop.state.reason
    gating.says = lambda _who, truth: truth
    gating.loop.acting.condemn("audit: more escape than promised")
    gating.tick()
    assert gating.live_version == 1
    assert gating.live.decider.identity.version == 1
    assert State.COOLDOWN in gating.states


def test_a_rollback_that_was_asked_for_takes_the_line_back(gating: World) -> None:
    gating.feed(LONG, drift=BLUR, until=ENDS)
    submit(gating.files, kind=RequestKind.ROLLBACK, by="ann", at=gating.clock.utc(), reason="it smells")
    gating.tick()
    assert gating.live_version == 1
    assert gating.state is State.COOLDOWN


def test_another_product_is_no_drift_and_the_first_one_is_watched_again_when_it_comes_back(world: World) -> None:
    for product in ("lid", "default"):
        submit(world.files, kind=RequestKind.CHANGEOVER, by="mes", at=world.clock.utc(), product=product)
        world.tick()
        if product == "lid":
            world.feed(6_000, drift=BLUR)
            assert world.states == [State.MONITORING]
            assert not world.loop.is_charted, "nobody has made a reference of it"
            restart(world)
            assert not world.loop.is_charted, "a restart does not forget what is on the belt"
    world.feed(3_000)
    assert world.states == [State.MONITORING]
    assert world.loop.is_charted
    world.feed(LONG, drift=BLUR, until=(State.DIAGNOSE,))
    assert world.state is State.DIAGNOSE


def test_a_lamp_that_fails_while_people_label_blocks_the_run_and_what_they_said_is_kept(world: World) -> None:
    world.feed(210 * BATCH)  # until the pictures of a healthy camera are known
    world.feed(LONG, drift=BLUR, until=(State.LABELLING,))
    n_labels = world.n_labels
    world.dark = True
    world.feed(5_000, drift=BLUR, until=(State.BLOCKED, State.TRAINING), people=False)
    assert world.state is State.BLOCKED
    world.feed(3_000, drift=BLUR)
    assert world.state is State.BLOCKED
    assert registry.versions(world.heads) == (1,), "nothing is fitted on what a broken camera shows"
    assert len(list(world.loop.asking.store.labels.since(0.0))) >= n_labels
    world.dark = False
    world.feed(8_000, until=(State.MONITORING,))
    assert world.state is State.MONITORING


def test_frozen_means_that_nothing_moves_until_somebody_thaws(world: World) -> None:
    submit(world.files, kind=RequestKind.FREEZE, by="ann", at=world.clock.utc(), reason="audit today")
    world.feed(4_000, drift=BLUR)
    assert world.states[-1] is State.HOLD
    submit(world.files, kind=RequestKind.THAW, by="ann", at=world.clock.utc())
    world.feed(LONG, drift=BLUR, until=(State.LABELLING,))
    assert world.state is State.LABELLING


@pytest.mark.parametrize(
    ("start", "state"),
    [
        ("world", State.SUSPECT),
        ("world", State.LABELLING),
        ("gating", State.GATING),
        ("gating", State.PROBATION),
    ],
)
def test_a_restart_goes_on_where_it_was(request: pytest.FixtureRequest, start: str, state: State) -> None:
    world: World = request.getfixturevalue(start)
    world.feed(LONG, drift=BLUR, until=(state,), people=state is not State.LABELLING)
    run, asked = world.loop.state.run, world.loop.asking.known(at=world.clock.utc())
    restart(world)
    assert world.state is state
    assert world.loop.state.run == run
    if state is State.SUSPECT:
        world.feed(LONG, drift=BLUR, until=(State.LABELLING,))
        assert world.state is State.LABELLING
        return
    world.feed(LONG, drift=BLUR, until=ENDS)
    assert world.state is State.PROBATION, world.loop.state.reason
    assert asked <= world.loop.asking.known(at=world.clock.utc())
    assert world.live_version == 2


def test_a_gate_goes_on_with_the_labels_it_had(gating: World) -> None:
    for _ in range(80):
        gating.feed(64, drift=BLUR)
        report = gating.loop.acting.report
        if report is not None and report.labelled:
            break
    assert report is not None
    restart(gating)
    gating.tick()
    assert gating.loop.acting.report is not None
    assert gating.loop.acting.report.labelled >= report.labelled > 0
    assert gating.loop.acting.report.frames >= report.frames


def test_a_full_disk_holds_the_loop_and_not_the_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.adaptation.lifecycle.journal.write_atomic", full)
    monkeypatch.setattr("pipeline.adaptation.support.recording.os.writev", full)
    world.feed(3_000, drift=BLUR)
    assert world.state is State.MONITORING  # what cannot be written down does not happen
    monkeypatch.undo()
    world.tick()
    assert world.state is State.HOLD
    assert "No space left" in world.loop.state.hold_reason
    assert verify(world.files.audit).ok


def test_an_unwritable_store_holds(gating: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = gating

    def refuses(*_: object, **__: object) -> None:
        raise SinkError("gates: cannot write: No space left on device; free space on that disk")

    monkeypatch.setattr("workers.adaptation.book.RunBook.write", refuses)
    world.feed(20_000, drift=BLUR, until=(State.HOLD, State.PROBATION))
    assert world.state is State.HOLD


def test_labels_that_are_all_alike_are_not_believed(world: World) -> None:
    world.says = lambda _who, _truth: CLASSES[0]
    world.feed(20_000, drift=BLUR, until=(State.HOLD, State.TRAINING, State.GATING))
    assert world.state is State.HOLD
    assert "honeypots" in world.loop.state.hold_reason
    assert registry.versions(world.heads) == (1,)


def test_an_answer_to_a_run_that_is_over_changes_nothing(world: World) -> None:
    world.loop.take(ev.ApprovalAnswered(world.clock.utc(), "demo-9", True, "ann"))
    assert world.state is State.MONITORING
