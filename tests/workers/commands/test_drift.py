"""`clearline drift`: references from a recording, the state in words, the chain, and a person's yes or no."""

from __future__ import annotations

import pytest

from pipeline.adaptation.drift.profile_file import load_profile
from pipeline.adaptation.lifecycle.states import State
from pipeline.heads.bundles import registry
from tests.workers.commands.adapting import Home, make_home
from workers.adaptation.lock import AdaptationLock
from workers.adaptation.requests import RequestKind, take_all
from workers.clock import SystemClock
from workers.commands.adaptation_opening import read_audit, record
from workers.commands.drift import app
from workers.config.line import load_config


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("drift"))
    home.record(700)
    home.record(500, first=1_000)  # 300 frames are missing in between
    home.record(100, source="cap-02")
    return home


@pytest.fixture(autouse=True)
def fresh(home: Home) -> None:
    for path in (*home.files.references.glob("*"), *home.files.folder.glob("audit*"), home.files.state):
        path.unlink(missing_ok=True)
    take_all(home.files)


def test_the_longest_contiguous_run_of_each_camera_becomes_a_reference(home: Home) -> None:
    first, second = home.said(app, "reference", "--approved-by", "ada")["references"]
    assert (first["source"], first["n_parts"], first["fault"]) == ("cap-01", 700, "")
    assert (second["source"], second["path"]) == ("cap-02", None)
    assert "100 parts in a row, 600 are needed" in second["fault"]
    profile = load_profile(home.files.references / first["path"].rsplit("/", 1)[1])
    assert (profile.approved_by, profile.context.head_version, profile.context.product) == ("ada", 2, "default")
    (told,) = read_audit(home.files.audit)
    assert (told.kind, told.actor, told.payload["sha256"]) == ("reference", "ada", profile.sha256)


def test_charts_that_have_too_few_parts_say_how_many_are_missing(home: Home) -> None:
    charts = home.said(app, "reference")["references"][0]["charts"]
    by_name = {one["name"]: one for one in charts}
    assert not by_name["location"]["active"]
    assert by_name["location"]["missing_parts"] == 75 * 64 * 10 - 700, "75 memories of ten blocks of 64 parts"
    assert by_name["mix"]["missing_parts"] == 75 * 64 * 50 - 700


def test_without_a_name_nothing_is_written(home: Home) -> None:
    result = home.run(app, "reference")
    assert "give --approved-by NAME" in result.output
    assert list(home.files.references.glob("*")) == []
    assert read_audit(home.files.audit) == []


def test_a_running_line_is_told_of_a_new_reference(home: Home) -> None:
    line = AdaptationLock(home.files)
    try:
        home.said(app, "reference", "--approved-by", "ada")
    finally:
        line.close()
    (request,) = take_all(home.files)
    assert (request.kind, request.values["source"]) == (RequestKind.REFERENCE, "cap-01")
    assert read_audit(home.files.audit) == [], "the line writes its own log"


def test_frames_before_a_changeover_are_another_product(home: Home) -> None:
    record(home.files, at=1.0e9 * 1.7 + 1_200.0, actor="ada", kind="changeover", payload={"product": "lid"})
    (first, _) = home.said(app, "reference", exit_code=3)["references"]
    assert first["n_parts"] == 300
    assert home.said(app, "status")["product"] == "lid"


def test_a_changeover_is_recorded_or_asked_of_the_line_that_runs(home: Home) -> None:
    assert home.said(app, "changeover", "lid", "--by", "mes") == {"product": "lid", "running": False}
    assert home.said(app, "status")["product"] == "lid"
    line = AdaptationLock(home.files)
    try:
        assert home.said(app, "changeover", "cap", "--by", "mes")["running"]
    finally:
        line.close()
    (request,) = take_all(home.files)
    assert (request.kind, request.by, request.values) == (RequestKind.CHANGEOVER, "mes", {"product": "cap"})
    assert "expected 1 to 120 printable characters" in home.refused(app, "changeover", " ", "--by", "mes")


def test_frames_from_before_the_line_changed_are_not_its_normal(home: Home) -> None:
    home.files.normal.write_text('{"since": 1700001100.0, "version": null}')
    try:
        (first, _) = home.said(app, "reference", exit_code=3)["references"]
    finally:
        home.files.normal.unlink()
    assert first["n_parts"] == 400


def test_a_head_that_needs_levels_is_refused(home: Home) -> None:
    from workers.commands.head import fit_folder

    path = home.path.read_text()
    home.path.write_text(path.replace("kind: gda", "kind: deconfusion"))
    config = load_config(home.path).model_copy(update={"adaptation": None})
    try:
        fit_folder(home.folder / "labelled", config=config, encoder=home.encoder)
        assert "fit the head again" in home.refused(app, "reference")
    finally:
        home.path.write_text(path)
        registry.promote(home.heads, version=2, encoder=home.info)


def test_status_says_the_state_in_words_with_references_labels_and_alarms(home: Home) -> None:
    assert "no line has run" in home.said(app, "status")["in_words"]
    home.said(app, "reference", "--approved-by", "ada")
    home.stand(state=State.LABELLING, run="demo-1", reason="drift: it looks shifted")
    home.ask(["cap-01-7-0-full", "cap-01-7-1-full"], at=SystemClock().utc())
    told = {"before": "suspect", "after": "diagnose", "reason": "alarm: cap-01/full: location 3.1"}
    record(home.files, at=1.7e9, actor="clearline", kind="state", payload=told)
    said = home.said(app, "status")
    assert (said["state"], said["run"], said["open_labels"]) == ("labelling", "demo-1", {"teach": 2})
    assert said["running"] is False
    assert said["references"][0]["approved_by"] == "ada"
    assert said["references"][0]["age_days"] > 300
    assert said["alarms"] == [{"at": 1.7e9, "reason": told["reason"]}]
    output = home.run(app, "status").output
    assert "waiting for labels" in output
    assert "location 3.1" in output


def test_audit_names_the_first_broken_record(home: Home) -> None:
    for number in range(3):
        record(home.files, at=float(number), actor="ada", kind="note", payload={"n": number})
    assert home.said(app, "audit")["n_records"] == 3
    content = home.files.audit.read_text()
    home.files.audit.write_text(content.replace('"payload":{"n":1}', '"payload":{"n":7}'))
    found = home.said(app, "audit", exit_code=1)
    assert (found["ok"], found["first_broken"], found["reason"]) == (False, 1, "the payload was changed")
    assert "broken at record 1" in home.run(app, "audit").output


@pytest.mark.parametrize(
    ("state", "verb", "kind"),
    [
        (State.APPROVAL, "approve", RequestKind.APPROVE),
        (State.APPROVAL, "refuse", RequestKind.REFUSE),
        (State.REBASELINE, "approve", RequestKind.REBASELINE_APPROVE),
        (State.REBASELINE, "refuse", RequestKind.REBASELINE_REFUSE),
    ],
)
def test_an_answer_goes_to_what_the_line_asks_now(home: Home, state: State, verb: str, kind: RequestKind) -> None:
    home.stand(state=state, run="demo-4", step=9)
    home.said(app, verb, "--by", "ada")
    (request,) = take_all(home.files)
    assert (request.kind, request.by, request.values) == (kind, "ada", {"run": "demo-4", "step": 9})


def test_an_answer_to_nothing_is_refused(home: Home) -> None:
    home.stand(state=State.MONITORING)
    assert "watching; all is well" in home.refused(app, "approve", "--by", "ada")
    assert "start one with" in _without_state(home)


def _without_state(home: Home) -> str:
    home.files.state.unlink()
    return home.refused(app, "refuse", "--by", "ada")
