"""`clearline replay`: recorded embeddings under another head, beside what people have said."""

from __future__ import annotations

import numpy as np
import pytest
import typer

from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.heads.bundles import registry
from tests.workers.commands.adapting import CLASSES, NOW, Home, make_home
from workers.commands.replay import replay, replay_recording

app = typer.Typer()
app.command()(replay)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two hundred frames of one camera, fifty of another, and audit labels of the first hundred."""
    home = make_home(tmp_path_factory.mktemp("replay"))
    truth = home.record(200)
    home.record(50, source="cap-02", seed=1)
    with SupportStore(home.files.support, encoder=home.info) as store:
        for event_id, label in truth[:100]:
            store.labels.put(Label(event_id, label, "ada", NOW, Stream.AUDIT, 0.1, blind=True), at=NOW)
    return home


def test_every_recorded_frame_is_counted_once(home: Home) -> None:
    said = home.said(app, "--head", "1")
    assert said["n_frames"] == sum(said["labels"].values()) == sum(said["decisions"].values()) == 250
    assert said["against"] is None
    assert sum(said["against_labels"].values()) == 250


def test_span_and_source_limit_what_is_read(home: Home) -> None:
    done = replay_recording(home.config, head=1, since=NOW + 10.0, until=NOW + 19.0, source="cap-01", encoder=home.info)
    assert done.n_frames == 10
    said = home.said(app, "--head", "1", "--from", "2023-11-14T22:13:30Z", "--to", "2023-11-14T22:13:39Z")
    assert said["n_frames"] == 20, "the same ten seconds of both cameras"


def test_a_head_beside_itself_changes_nothing(home: Home) -> None:
    done = replay_recording(home.config, head=1, against=1, encoder=home.info)
    assert (done.n_changed, done.examples) == (0, ())
    assert done.known == done.against_known
    assert done.comparison is not None
    assert (done.comparison.saved, done.comparison.verdict) == (0.0, "undecided")


def test_changed_decisions_are_counted_and_shown_by_event(home: Home) -> None:
    mean_only = worse(home)
    done = replay_recording(home.config, head=2, against=mean_only, encoder=home.info)
    assert done.n_changed > 0
    assert sum(n for _, _, n in done.changes) == done.n_changed
    ids = {one.event_id for one in done.examples}
    assert len(ids) == min(20, done.n_changed)
    assert all(one.startswith(("cap-01-7-", "cap-02-7-")) for one in ids)


def test_where_labels_are_known_both_heads_are_judged_on_the_same_parts(home: Home) -> None:
    done = replay_recording(home.config, head=2, against=worse(home), encoder=home.info)
    assert done.known is not None
    assert done.against_known is not None
    assert done.known.n == done.against_known.n == 100
    assert done.known.n_right > done.against_known.n_right
    assert done.known.n_good + done.known.n_defect == 100
    assert done.streams == {"audit": 100}
    assert done.comparison is not None
    assert done.comparison.frames == 100
    assert done.comparison.saved > 500
    assert done.known.n_escaped < done.against_known.n_escaped
    assert done.comparison.verdict == "second costs less"


def test_text_says_who_is_right(home: Home) -> None:
    output = home.run(app, "--head", "2", "--against", str(worse(home))).output
    assert "250 frames under head 2" in output
    assert "labels right" in output
    assert "head 2 costs less" in output


def test_a_time_without_a_zone_is_refused(home: Home) -> None:
    assert "add Z for UTC" in home.refused(app, "--head", "1", "--from", "2026-01-31T08:00")


def worse(home: Home) -> int:
    """A third version that has learned the classes the wrong way round."""
    if len(registry.versions(home.heads)) < 3:
        from workers.commands.head import fit_folder

        wrong = home.folder / "wrong"
        for name, other in zip(CLASSES, np.roll(CLASSES, 1), strict=True):
            (wrong / name).parent.mkdir(exist_ok=True)
            (wrong / name).symlink_to(home.folder / "labelled" / str(other))
        fit_folder(wrong, config=home.config, encoder=home.encoder)
        registry.promote(home.heads, version=2, encoder=home.info)
    return 3
