"""A snapshot is exactly what a head was fitted on, for ever."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from pipeline.adaptation.support.rows import load_snapshot
from pipeline.errors import DataError
from tests.adaptation.support.making_support import NOW, context, exemplar, open_store, teach


def filled(folder: Path, *, levels: int = 2):  # type: ignore[no-untyped-def]
    store = open_store(folder, n_levels=2)
    store.add_founders([exemplar("f", "ok", seed=50, levels=levels)], at=NOW)
    teach(store, [exemplar(f"e{i}", ("ok", "dent")[i % 2], seed=i, levels=levels, margin=0.1) for i in range(5)])
    return store


@pytest.mark.parametrize("levels", [0, 2])
def test_a_snapshot_gives_the_same_arrays_after_the_store_has_moved_on(tmp_path: Path, levels: int) -> None:
    with filled(tmp_path, levels=levels) as store:
        before, rows = store.as_support(("ok", "dent")), store.snapshot(tmp_path / "s" / "rows.support")
        assert rows.sha256 == store.content_sha256()
        store.withdraw("e1", why="blurred", at=NOW)
        teach(store, [exemplar("late", "dent", seed=70)])
        assert store.content_sha256() != rows.sha256
    again = load_snapshot(tmp_path / "s" / "rows.support")
    after = again.as_support(("ok", "dent"))
    assert again.sha256 == rows.sha256
    assert again.seed == rows.seed
    for one, other in zip((before.embeddings, *before.levels), (after.embeddings, *after.levels), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before.labels, after.labels)
    np.testing.assert_array_equal(before.groups, after.groups)
    assert [e.margin for e in again.exemplars] == [e.margin for e in rows.exemplars]


def test_a_snapshot_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.support"
    with filled(tmp_path) as store:
        store.snapshot(path)
        inode = path.stat().st_ino
        store.snapshot(path)
        assert path.stat().st_ino == inode
        assert not path.stat().st_mode & stat.S_IWUSR
        store.withdraw("e1", why="blurred", at=NOW)
        with pytest.raises(DataError, match="snapshots never change"):
            store.snapshot(path)


def test_a_snapshot_may_hold_one_context_only(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        teach(store, [exemplar("other", seed=80, where=context("cap-02"))])
        rows = store.snapshot(tmp_path / "rows.support", context=context("cap-02"))
    assert [e.event_id for e in rows.exemplars] == ["other"]


def test_an_empty_store_has_a_snapshot_too(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        rows = store.snapshot(tmp_path / "rows.support")
    assert load_snapshot(tmp_path / "rows.support").sha256 == rows.sha256


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_torn_snapshot_is_refused(tmp_path: Path, share: float) -> None:
    with filled(tmp_path) as store:
        store.snapshot(tmp_path / "rows.support")
    content = (tmp_path / "rows.support").read_bytes()
    (tmp_path / "torn.support").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"torn\.support: expected a whole snapshot"):
        load_snapshot(tmp_path / "torn.support")


def test_a_changed_number_or_label_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        store.snapshot(tmp_path / "rows.support")
    content = (tmp_path / "rows.support").read_bytes()
    number = bytearray(content)
    number[-3] ^= 1
    (tmp_path / "number.support").write_bytes(bytes(number))
    (tmp_path / "label.support").write_bytes(content.replace(b'\\"dent\\"', b'\\"dint\\"', 1))
    for name in ("number", "label"):
        with pytest.raises(DataError, match="it was changed"):
            load_snapshot(tmp_path / f"{name}.support")


def test_an_absent_snapshot_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.support: expected a snapshot"):
        load_snapshot(tmp_path / "none.support")
