"""The store keeps founders for ever, the rest within its caps, deletes nothing, and refuses what is not its own."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.support.database import SCHEMA_VERSION
from pipeline.adaptation.support.exemplars import Caps, Exemplar, Role
from pipeline.adaptation.support.labels import Label
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import DataError
from tests.adaptation.support.making_support import (
    DAY,
    NOW,
    context,
    encoder,
    exemplar,
    intake,
    label,
    open_store,
    teach,
)

SMALL = Caps(founders=2, herd=3, recent=4, hard=1)


def founders(n: int = 2, *, said: str = "ok") -> list[Exemplar]:
    return [exemplar(f"{said}-founder-{i}", said, seed=i) for i in range(n)]


def test_what_is_added_is_there_after_reopening(tmp_path: Path) -> None:
    one = exemplar("e", "dent", seed=3, margin=0.25, levels=2, part="picture")
    with open_store(tmp_path, n_levels=2) as store:
        teach(store, [one])
    with open_store(tmp_path, n_levels=2) as store:
        (found,) = store.exemplars()
    assert found.exemplar.embedding.tobytes() == one.embedding.tobytes()
    assert found.exemplar.levels is not None
    assert found.exemplar.levels.tobytes() == one.levels.tobytes()  # type: ignore[union-attr]
    assert (found.exemplar.margin, found.exemplar.group, found.added_at) == (0.25, "picture", NOW)
    assert found.exemplar.context == one.context


def test_an_exemplar_without_a_standing_label_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(DataError, match=r"expected a standing label ok that may teach, got label None"):
            store.add([exemplar("e")], at=NOW)
        intake(store).take_label(label("e", "dent"), at=NOW)
        with pytest.raises(DataError, match="got label dent"):
            store.add([exemplar("e", "ok")], at=NOW)
        assert store.exemplars() == ()


def test_founders_are_added_once_and_the_same_again_is_nothing_to_do(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.add_founders(founders(), at=NOW).n_added == 2
        again = store.add_founders(founders(), at=NOW + 1)
        assert (again.n_added, again.n_known) == (0, 2)


def test_other_founders_or_too_many_are_refused(tmp_path: Path) -> None:
    with open_store(tmp_path, caps=SMALL) as store:
        with pytest.raises(DataError, match="at most 2 founders, got 3"):
            store.add_founders(founders(3), at=NOW)
        store.add_founders(founders(1), at=NOW)
        with pytest.raises(DataError, match="founders are immutable"):
            store.add_founders(founders(2), at=NOW)
        assert store.counts() == {("ok", Role.FOUNDER): 1}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE exemplars SET removed_at = 1 WHERE role = 'founder'",
        "UPDATE exemplars SET role = 'herd' WHERE role = 'founder'",
        "UPDATE exemplars SET role = 'founder' WHERE role = 'recent'",
        "UPDATE exemplars SET embedding = x'00'",
        "UPDATE exemplars SET label = 'dent'",
        "DELETE FROM exemplars",
        "DELETE FROM labels",
    ],
)
def test_no_statement_changes_founders_or_deletes_anything(tmp_path: Path, sql: str) -> None:
    with open_store(tmp_path) as store:
        store.add_founders(founders(), at=NOW)
        teach(store, [exemplar("e")])
        before = store.content_sha256()
        with pytest.raises(DataError, match=r"immutable|never|stays"):
            store.database.execute(sql)
        assert store.content_sha256() == before


def test_a_tombstone_cannot_be_taken_back(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar("e")])
        assert store.withdraw("e", why="blurred", at=NOW) == 1
        with pytest.raises(DataError, match="stays as it is"):
            store.database.execute("UPDATE exemplars SET removed_at = NULL")
        (gone,) = store.exemplars(living=False)
        assert (gone.removed_at, gone.removed_why) == (NOW, "blurred")
        assert store.labels.waiting_to_teach(at=NOW) == (), "what was taken out by hand does not come back by itself"


def test_a_founder_cannot_be_withdrawn(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add_founders(founders(), at=NOW)
        with pytest.raises(DataError, match="founders are immutable"):
            store.withdraw("ok-founder-0", why="mistake", at=NOW)


def test_caps_hold_per_class_and_context(tmp_path: Path) -> None:
    with open_store(tmp_path, caps=SMALL) as store:
        for where in (context("cap-01"), context("cap-02")):
            batch = [exemplar(f"{where.source}-{i}", seed=i, margin=i / 100, where=where) for i in range(30)]
            teach(store, batch, who=("ada", "ben"))
        assert store.counts() == {("ok", Role.HARD): 2, ("ok", Role.RECENT): 8, ("ok", Role.HERD): 6}
        assert len(store.exemplars(living=False)) == 60, "the rest has tombstones"
        hard = [one.exemplar.margin for one in store.exemplars() if one.role is Role.HARD]
        assert hard == [0.0, 0.0]


def test_recent_exemplars_make_way_after_ninety_days(tmp_path: Path) -> None:
    with open_store(tmp_path, caps=SMALL) as store:
        teach(store, [exemplar(f"old-{i}", seed=i) for i in range(4)])
        teach(store, [exemplar("new", seed=9)], at=NOW + 91 * DAY)
        recent = {one.exemplar.event_id for one in store.exemplars() if one.role is Role.RECENT}
        assert recent == {"new"}


def test_the_hash_does_not_depend_on_order_roles_or_instants(tmp_path: Path) -> None:
    rows = [exemplar(f"e{i}", seed=i) for i in range(6)]
    hashes = set()
    for number, order in enumerate((rows, rows[::-1])):
        with open_store(tmp_path / str(number)) as store:
            for one in order:
                teach(store, [one], who=("ada", "ben")[: number + 1], at=NOW + number)
            hashes.add(store.content_sha256())
            assert store.rows().seed == int(store.content_sha256()[:16], 16)
    assert len(hashes) == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.sampled_from(["label", "source", "event", "embedding", "levels", "part"]))
def test_the_hash_changes_with_whatever_a_fit_would_see(
    tmp_path_factory: pytest.TempPathFactory, place: int, what: str
) -> None:
    rows = [exemplar(f"e{i}", seed=i, levels=2) for i in range(6)]
    one = rows[place]
    changed = {
        "label": replace(one, label="dent"),
        "source": replace(one, context=context("cap-09")),
        "event": replace(one, event_id="other"),
        "embedding": replace(one, embedding=exemplar("x", seed=77).embedding),
        "levels": replace(one, levels=exemplar("x", seed=77, levels=2).levels),
        "part": replace(one, part="same picture"),
    }[what]
    hashes = []
    for batch in (rows, [*rows[:place], changed, *rows[place + 1 :]]):
        with open_store(tmp_path_factory.mktemp("store"), n_levels=2) as store:
            teach(store, batch)
            hashes.append(store.content_sha256())
    assert hashes[0] != hashes[1]


def test_arrays_are_sorted_and_numbered_by_class_and_source_image(tmp_path: Path) -> None:
    with open_store(tmp_path, n_levels=2) as store:
        batch = [exemplar(f"e{i}", ("ok", "dent")[i % 2], seed=i, levels=2, part=f"p{i // 4}") for i in (3, 0, 2, 1, 5)]
        teach(store, batch)
        arrays = store.as_support(("ok", "dent"))
    assert arrays.labels.tolist() == [1, 1, 1, 0, 0]
    assert arrays.groups.tolist() == [0, 0, 1, 0, 0]
    assert arrays.embeddings.shape == (5, 8)
    assert [level.shape for level in arrays.levels] == [(5, 8), (5, 8)]
    np.testing.assert_array_equal(arrays.embeddings[0], batch[3].embedding.astype(np.float32))


def test_a_class_without_exemplars_is_named(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar("e")])
        with pytest.raises(DataError, match="none of scratch"):
            store.as_support(("ok", "scratch"))


@pytest.mark.parametrize("change", [{"sha256": "b" * 64}, {"interpolation": "bilinear"}, {"level_dims": (8,)}])
def test_a_store_of_another_encoder_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    open_store(tmp_path).close()
    with pytest.raises(DataError, match=r"expected embeddings of encoder fake .* encode the images again"):
        SupportStore(tmp_path / "support.sqlite", encoder=replace(encoder(), **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"context": replace(context(), encoder_sha256="c" * 64)}, "expected an embedding of encoder"),
        ({"embedding": np.ones(8, np.float16)}, "expected an embedding of length one, got 2.828"),
        ({"embedding": np.ones(9, np.float16)}, r"expected an embedding \(8,\) float16"),
        ({"embedding": np.full(8, np.nan, np.float16)}, "NaN or infinity"),
        ({"levels": np.ones(3, np.float16)}, "expected levels"),
    ],
)
def test_an_embedding_that_the_encoder_cannot_have_made_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with open_store(tmp_path) as store:
        intake(store).take_label(label("e"), at=NOW)
        with pytest.raises(DataError, match=said):
            store.add([replace(exemplar("e"), **change)], at=NOW)  # type: ignore[arg-type]


def test_a_damaged_store_is_refused_in_plain_words(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar(f"e{i}", seed=i) for i in range(100)])
    path = tmp_path / "support.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 4096)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"support\.sqlite: expected a whole support store, got: .*; restore it"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to have a header" * 9, b"SQLite format 3\0"]
)
def test_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "support.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a whole support store"):
        open_store(tmp_path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "support.sqlite")
    connection.execute("CREATE TABLE orders (id)")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="another program's database"):
        open_store(tmp_path)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(DataError, match=r"expected schema version 1, got 2; update Clearline"):
        open_store(tmp_path)


def test_a_reader_sees_whole_transactions_only(tmp_path: Path) -> None:
    with open_store(tmp_path) as writer, open_store(tmp_path) as reader:
        teach(writer, [exemplar("e1")])
        before = reader.content_sha256()
        with writer.writing():
            teach(writer, [exemplar("e2", seed=1), exemplar("e3", seed=2)])
            assert reader.content_sha256() == before
            assert writer.content_sha256() != before
        assert reader.content_sha256() == writer.content_sha256()


def test_a_second_writer_is_told_who_is_in_the_way(tmp_path: Path) -> None:
    with open_store(tmp_path) as first:
        second = SupportStore(tmp_path / "support.sqlite", encoder=encoder(), busy_timeout_s=0.01)
        with second, first.writing(), pytest.raises(DataError, match="another process is writing"):
            intake(second).take_label(label("e"), at=NOW)


def test_a_failed_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        labels: list[Label] = [label("good")]
        intake(store).take_all(labels, at=NOW)
        with pytest.raises(DataError, match="exemplar bad"):
            store.add([exemplar("good"), exemplar("bad")], at=NOW)
        assert store.exemplars(living=False) == ()
