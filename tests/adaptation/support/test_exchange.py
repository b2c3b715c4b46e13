"""Exemplars and labels leave and come back unchanged; what is missing or wrong is named."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pipeline.adaptation.support.exchange import read_exemplars, read_labels, write_exemplars, write_labels
from pipeline.adaptation.support.folders import read_label_file, write_folders, write_label_csv, write_label_lines
from pipeline.adaptation.support.intake import Outcome
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.errors import ConfigError, DataError
from pipeline.heads.support import list_support
from tests.adaptation.support.making_support import NOW, exemplar, intake, label, open_store, teach
from tests.conftest import need

JPEG = b"\xff\xd8\xff and then a picture"
LABELS = (
    label("e1", "ok"),
    Label("e,2", 'de"nt', "bén", NOW + 0.125, Stream.AUDIT, 0.005, blind=True, model_label="ok"),
)


def has_pyarrow() -> None:
    need(importlib.util.find_spec("pyarrow") is not None, what="pyarrow", how="pip install 'clearline[parquet]'")


def test_exemplars_come_back_from_parquet_bit_for_bit(tmp_path: Path) -> None:
    has_pyarrow()
    rows = [exemplar(f"e{i}", seed=i, margin=None if i else 0.5, levels=2, part="p") for i in range(4)]
    with open_store(tmp_path, n_levels=2) as store:
        teach(store, rows)
        store.withdraw("e3", why="blurred", at=NOW)
        write_exemplars(store.exemplars(living=False), path=tmp_path / "x.parquet")
        before = store.content_sha256()
    with open_store(tmp_path / "other", n_levels=2) as store:
        teach(store, list(read_exemplars(tmp_path / "x.parquet")))
        assert store.content_sha256() == before


def test_labels_come_back_from_parquet(tmp_path: Path) -> None:
    has_pyarrow()
    write_labels(LABELS, path=tmp_path / "l.parquet")
    assert read_labels(tmp_path / "l.parquet") == LABELS


def test_an_empty_store_is_an_empty_table(tmp_path: Path) -> None:
    has_pyarrow()
    write_exemplars((), path=tmp_path / "x.parquet")
    assert read_exemplars(tmp_path / "x.parquet") == ()


def test_a_parquet_file_of_something_else_names_row_and_column(tmp_path: Path) -> None:
    has_pyarrow()
    write_labels(LABELS, path=tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"l\.parquet: row 0: part: expected text, got NoneType"):
        read_exemplars(tmp_path / "l.parquet")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "l.parquet").read_bytes()[:100])
    with pytest.raises(DataError, match=r"torn\.parquet: expected a readable Parquet file"):
        read_labels(tmp_path / "torn.parquet")
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "none.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'clearline\[parquet\]'"):
        write_labels(LABELS, path=tmp_path / "l.parquet")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_labels_go_through_a_file_into_the_intake(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"labels.{ending}"
    (write_label_csv if ending == "csv" else write_label_lines)(LABELS, path=path)
    with open_store(tmp_path) as store:
        desk = intake(store)
        taken = [desk.take(content, at=NOW + 9, where=where) for where, content in read_label_file(path)]
    assert tuple(one.label for one in taken) == LABELS


def test_a_bad_line_of_a_file_is_set_aside_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"event_id": "e"\n\n[1]\n' + '{"event_id": 3}\n')
    with open_store(tmp_path) as store:
        desk = intake(store)
        taken = [desk.take(content, at=NOW, where=where) for where, content in read_label_file(path)]
    assert [one.outcome for one in taken] == [Outcome.MALFORMED] * 3
    assert [one.reason.split(": ")[1] for one in taken] == ["line 1", "line 3", "line 4"]


def test_a_file_with_a_missing_column_or_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("event_id,label\ne,ok\n")
    with pytest.raises(DataError, match="line 1: expected a column labeller, labelled_at, stream"):
        read_label_file(tmp_path / "l.csv")
    (tmp_path / "l.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"ending in \.csv or \.jsonl, got \.xlsx"):
        read_label_file(tmp_path / "l.xlsx")
    (tmp_path / "l.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="in UTF-8"):
        read_label_file(tmp_path / "l.jsonl")


def test_folders_of_images_can_be_fitted_on_as_they_are(tmp_path: Path) -> None:
    rows = [exemplar(f"cap-01-1-{i}-full", ("ok", "dent")[i % 2]) for i in range(4)]
    pictures = {row.event_id: JPEG for row in rows[:3]}
    done = write_folders(rows, folder=tmp_path / "out", read_image=lambda e: pictures.get(e.event_id), labels=LABELS)
    assert (done.n_images, done.without_image) == (3, (rows[3].event_id,))
    support = list_support(tmp_path / "out")
    assert {name: len(files) for name, files in support.files.items()} == {"dent": 1, "ok": 2}
    assert [content["event_id"] for _, content in read_label_file(tmp_path / "out" / "labels.csv")] == ["e1", "e,2"]


@pytest.mark.parametrize("name", ["../../etc", "a/b", "a\\b", ".hidden", ""])
def test_a_class_that_cannot_name_a_folder_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="can name a folder"):
        write_folders([exemplar("e", name)], folder=tmp_path / "out", read_image=lambda _: JPEG)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_events_whose_names_differ_in_a_forbidden_character_stay_apart(tmp_path: Path) -> None:
    rows = [exemplar("rtsp://cam/1"), exemplar("rtsp:__cam_1"), exemplar("../up")]
    write_folders(rows, folder=tmp_path / "out", read_image=lambda _: JPEG, labels_format="jsonl")
    assert len(list((tmp_path / "out" / "ok").glob("*.jpg"))) == 3
    assert len(list(tmp_path.glob("*"))) == 1
