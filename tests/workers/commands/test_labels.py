"""`clearline labels`: what comes in is judged and counted, what goes out comes in again, questions are answered."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipeline.adaptation.support.exemplars import Role
from pipeline.adaptation.support.labels import Stream
from pipeline.adaptation.support.store import SupportStore
from tests.workers.commands.adapting import NOW, Home, make_home
from workers.clock import SystemClock
from workers.commands.labels import app

PICTURE = b"\xff\xd8\xffa picture"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("labels"))
    home.record(20)
    return home


@pytest.fixture(autouse=True)
def empty(home: Home) -> None:
    for path in home.files.folder.glob("support.sqlite*"):
        path.unlink()


def event(number: int) -> str:
    return f"cap-01-7-{number}-full"


def line(number: int, label: str, *, who: str = "ada", at: float = NOW + 100.0) -> dict[str, object]:
    return {"event_id": event(number), "label": label, "labeller": who, "labelled_at": at, "stream": "teach"}


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_label_of_a_file_is_judged_and_counted(home: Home, tmp_path: Path) -> None:
    rows = [
        line(0, "clean_plate"),
        line(0, "clean_plate"),
        line(1, "dented_plate"),
        line(1, "clean_plate", who="bob"),
        line(2, "blister"),
        line(99, "clean_plate"),
        {"event_id": event(3)},
    ]
    path = write_lines(tmp_path / "labels.jsonl", rows)
    (found,) = home.said(app, "import", str(path))["files"]
    assert (found["n_accepted"], found["n_duplicate"], found["n_contradiction"], found["n_unknown"]) == (2, 1, 1, 2)
    assert found["n_quarantined"] == 4
    assert found["outcomes"]["malformed"] == 1
    assert any("expected one of clean_plate" in reason for reason in found["reasons"])


def test_the_same_file_again_changes_nothing(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "labels.jsonl", [line(0, "clean_plate"), line(1, "dented_plate")])
    first, second = home.said(app, "import", str(path), str(path))["files"]
    assert (first["n_accepted"], second["n_accepted"], second["n_duplicate"]) == (2, 0, 2)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_labels_that_went_out_come_in_again(home: Home, tmp_path: Path, ending: str) -> None:
    home.run(app, "import", str(write_lines(tmp_path / "in.jsonl", [line(n, "clean_plate") for n in range(5)])))
    out = tmp_path / f"out.{ending}"
    assert home.said(app, "export", "--out", str(out))["n_labels"] == 5
    (again,) = home.said(app, "import", str(out))["files"]
    assert (again["n_duplicate"], again["n_quarantined"]) == (5, 0)


def test_pictures_by_class_become_founders_that_never_change(home: Home, tmp_path: Path) -> None:
    pictures = str(home.folder / "labelled")
    (found,) = home.said(app, "import", pictures)["files"]
    assert (found["what"], found["n_accepted"]) == ("founders", 12)
    with SupportStore(home.files.support, encoder=home.info) as store:
        assert store.counts() == {
            (name, Role.FOUNDER): 4 for name in ("clean_plate", "dented_plate", "scratched_plate")
        }
    (again,) = home.said(app, "import", pictures)["files"]
    assert (again["n_accepted"], again["n_duplicate"]) == (0, 12)
    assert "founders are immutable" in home.refused(app, "import", pictures, "--shots", "2")


def test_a_folder_gets_the_pictures_by_class_and_names_those_that_have_none(home: Home, tmp_path: Path) -> None:
    home.run(app, "import", str(home.folder / "labelled"))
    said = home.said(app, "export", "--out", str(tmp_path / "out"))
    assert len(said["without_picture"]) == 12
    assert list(csv.DictReader((tmp_path / "out" / "labels.csv").open())) == []


def test_an_ending_that_says_no_format_is_refused(home: Home, tmp_path: Path) -> None:
    assert "give --format" in home.refused(app, "export", "--out", str(tmp_path / "out.xlsx"))


def test_open_questions_are_shown_and_answered(home: Home) -> None:
    home.ask([event(0), event(1)], at=SystemClock().utc())
    said = home.said(app, "queue", "--labeller", "ada", "--answer", f"{event(0)}=dented_plate")
    assert [(one["event_id"], one["outcome"]) for one in said["answered"]] == [(event(0), "accepted")]
    assert [one["event_id"] for one in said["questions"]] == [event(1)]
    assert said["open"] == {"teach": 1}
    with SupportStore(home.files.support, encoder=home.info) as store:
        (label,) = store.labels.of(event(0))
    assert (label.label, label.labeller, label.stream, label.inclusion_probability) == (
        "dented_plate",
        "ada",
        Stream.TEACH,
        0.5,
    )


def test_one_bad_answer_leaves_all_unanswered(home: Home) -> None:
    home.ask([event(0), event(1)], at=SystemClock().utc())
    good, bad = f"{event(0)}=dented_plate", f"{event(1)}=blister"
    assert "got blister" in home.refused(app, "queue", "--labeller", "ada", "--answer", good, "--answer", bad)
    assert "--labeller" in home.refused(app, "queue", "--answer", good)
    assert home.said(app, "queue")["open"] == {"teach": 2}


def test_without_the_section_the_way_out_is_named(home: Home, tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text(
        home.path.read_text().partition("adaptation:")[0] + home.path.read_text().partition("batching:")[1]
    )
    result = Home(tmp_path, home.encoder)
    plain.rename(result.path)
    result.path.write_text(
        "version: 1\ncameras: [{id: c, source: {type: simulate}}]\nhead: {}\ndecision: {good_classes: [ok]}\n"
    )
    assert "add `adaptation: {}`" in result.refused(app, "queue")
