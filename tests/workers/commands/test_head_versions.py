"""`clearline head list|promote|rollback|freeze|thaw|rebuild`: who decides, on record, and fitted again to the byte."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import State
from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.rows import write_snapshot
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.recipe import rows_sha256
from tests.workers.commands.adapting import CLASSES, NOW, Home, make_home
from workers.adaptation.lock import AdaptationLock
from workers.adaptation.refit import Job, run_job
from workers.adaptation.requests import RequestKind, take_all
from workers.commands.adaptation_opening import read_audit
from workers.commands.head import app
from workers.commands.head_rebuild import rebuild


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("versions"))


@pytest.fixture(autouse=True)
def fresh(home: Home) -> None:
    """The second version is live, and no line has run."""
    registry.promote(home.heads, version=1, encoder=home.info)
    registry.promote(home.heads, version=2, encoder=home.info)
    for path in (home.files.state, home.files.audit, home.files.audit.with_name("audit.jsonl.head")):
        path.unlink(missing_ok=True)
    take_all(home.files)


def test_list_shows_kind_accuracy_and_which_version_is_live(home: Home) -> None:
    first, second = home.said(app, "list")["versions"]
    assert (first["live"], second["live"], second["kind"]) == (False, True, "gda")
    assert second["classes"] == ["clean_plate", "dented_plate", "scratched_plate"]
    assert 0 <= second["accuracy"] <= 1
    assert second["n_judged"] == 12


def test_list_says_what_the_state_says_of_a_version(home: Home) -> None:
    home.stand(state=State.APPROVAL, candidate=1, run="demo-1")
    assert [row["status"] for row in home.said(app, "list")["versions"]] == ["candidate", "live"]
    home.stand(state=State.PROBATION, previous=1, on_probation=True, run="demo-1")
    assert [row["status"] for row in home.said(app, "list")["versions"]] == ["previous", "on probation"]


def test_a_version_that_cannot_be_loaded_is_listed_with_the_reason(home: Home, tmp_path: Path) -> None:
    path = registry.bundle_path(home.heads, version=3)
    path.write_bytes(b"half a head")
    try:
        result = home.run(app, "list")
        assert "cannot be loaded" in result.output
    finally:
        path.unlink()


def test_promote_moves_the_pointer_and_is_on_record(home: Home) -> None:
    home.stand(state=State.GATING, candidate=1, run="demo-1")
    said = home.said(app, "promote", "1", "--by", "ada")
    assert (said["version"], said["before"], said["asked"]) == (1, 2, False)
    assert registry.live_version(home.heads)[0] == 1
    (record,) = read_audit(home.files.audit)
    assert (record.kind, record.actor, record.payload["version"]) == ("promote", "ada", 1)
    assert verify(home.files.audit).ok
    state = Journal(home.files.state).read()
    assert state is not None
    assert (state.champion, state.previous, state.run, state.state) == (1, 2, None, State.COMMISSIONING)


def test_a_version_that_is_not_there_changes_nothing(home: Home) -> None:
    assert "no such file" in home.refused(app, "promote", "9", "--by", "ada")
    assert registry.live_version(home.heads)[0] == 2
    assert read_audit(home.files.audit) == []


def test_promote_asks_the_running_line(home: Home) -> None:
    line = AdaptationLock(home.files)
    try:
        assert home.said(app, "promote", "1", "--by", "ada")["asked"]
    finally:
        line.close()
    assert registry.live_version(home.heads)[0] == 2, "the line moves its own pointer"
    (request,) = take_all(home.files)
    assert (request.kind, request.by, request.values) == (RequestKind.PROMOTE, "ada", {"version": 1})


def test_rollback_goes_to_the_version_before_and_not_back_again(home: Home) -> None:
    assert home.said(app, "rollback", "--by", "ada")["version"] == 1
    assert registry.live_version(home.heads)[0] == 1
    assert "live before, got none" in home.refused(app, "rollback", "--by", "ada")


def test_rollback_asks_the_running_line(home: Home) -> None:
    home.stand(state=State.PROBATION, previous=1, on_probation=True, run="demo-1")
    line = AdaptationLock(home.files)
    try:
        assert home.said(app, "rollback", "--by", "ada", "--reason", "too many rejects")["asked"]
    finally:
        line.close()
    assert registry.live_version(home.heads)[0] == 2, "the line moves its own pointer"
    (request,) = take_all(home.files)
    assert (request.kind, request.by, request.values) == (
        RequestKind.ROLLBACK,
        "ada",
        {"reason": "too many rejects"},
    )


def test_freeze_holds_a_line_that_is_not_running_and_thaw_lets_it_go(home: Home) -> None:
    home.stand(state=State.MONITORING)
    assert not home.said(app, "freeze", "--by", "ada", "--reason", "audit week")["asked"]
    held = Journal(home.files.state).read()
    assert held is not None
    assert (held.state, held.hold_reason) == (State.HOLD, "ada: audit week")
    assert "can be frozen" in home.refused(app, "freeze", "--by", "ada")
    home.said(app, "thaw", "--by", "bob")
    thawed = Journal(home.files.state).read()
    assert thawed is not None
    assert thawed.state is State.MONITORING
    assert [(one.kind, one.actor) for one in read_audit(home.files.audit)] == [("freeze", "ada"), ("thaw", "bob")]


def test_a_running_line_is_asked_to_freeze(home: Home) -> None:
    home.stand(state=State.MONITORING)
    line = AdaptationLock(home.files)
    try:
        assert home.said(app, "freeze", "--by", "ada")["asked"]
    finally:
        line.close()
    assert [one.kind for one in take_all(home.files)] == [RequestKind.FREEZE]


def test_a_head_is_fitted_again_to_the_byte_from_its_pictures(home: Home) -> None:
    for version in (1, 2):
        done = rebuild(version, config=home.config, images=home.folder / "labelled", encoder=home.encoder)
        assert done.same, done.differs_in


def test_other_pictures_are_refused_and_so_is_nothing_at_all(home: Home, tmp_path: Path) -> None:
    pictures = home.folder / "labelled"
    one = next((pictures / "clean_plate").iterdir())
    content = one.read_bytes()
    assert "name its pictures by --images" in home.refused(app, "rebuild", "2")
    one.write_bytes(content + b" ")
    try:
        assert "expected the pictures" in home.refused(app, "rebuild", "2", "--images", str(pictures))
    finally:
        one.write_bytes(content)


def test_a_head_of_the_loop_is_fitted_again_to_the_byte_from_its_snapshot(home: Home) -> None:
    rows, labels = home.rows(60)
    context = SupportContext("cap-01", "full", "default", home.info.sha256, home.info.preprocessing_sha256)
    exemplars = [
        Exemplar(f"e-{i}", CLASSES[label], context, as_fp16(row))
        for i, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
    with SupportStore(home.folder / "own.sqlite", encoder=home.info) as store:
        store.add_founders(exemplars, at=NOW)
        kept = store.rows()
    write_snapshot(kept, path=home.files.snapshot(kept.sha256))
    pool = as_fp16(home.rows(80, seed=1)[0])
    pool_path = home.files.pool(str(rows_sha256(pool.astype(np.float32))))
    np.save(pool_path, pool)
    job = Job(
        snapshot=str(home.files.snapshot(kept.sha256)),
        pool=str(pool_path),
        text=None,
        classes=CLASSES,
        registry=str(home.heads),
        encoder=asdict(home.info),
        code_version="0",
        texts_sha256=None,
        created_at="2026-01-01T00:00:00+00:00",
    )
    version = run_job(job)
    try:
        done = rebuild(version, config=home.config, encoder=home.encoder)
        assert done.same, done.differs_in
        np.save(pool_path, pool[:70])
        with pytest.raises(DataError, match="expected the unlabelled rows"):
            rebuild(version, config=home.config, encoder=home.encoder)
    finally:
        registry.bundle_path(home.heads, version=version).unlink()
