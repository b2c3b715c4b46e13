"""Reading a folder per class: what is taken, what is left out, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.bundles.feature_cache import FeatureCache
from pipeline.heads.support import SupportSet, encode_support, list_support
from pipeline.preprocess import Preprocessor
from pipeline.types import Roi
from tests.fakes import FakeEncoder
from tests.pipeline.heads.making_folders import CLASSES, write_folder


def encode(
    folder: Path,
    *,
    encoder: FakeEncoder | None = None,
    cache: Path | None = None,
    shots: int | None = None,
    ladder: tuple[int, ...] = (1, 2, 4, 8, 16),
) -> SupportSet:
    encoder = encoder or FakeEncoder()
    return encode_support(
        list_support(folder),
        encoder=encoder,
        ladder=ladder,
        cut=Preprocessor(encoder.info, Roi()),
        cache=None if cache is None else FeatureCache(cache, encoder=encoder.info),
        shots=shots,
    )


def test_every_image_becomes_a_row_with_the_class_of_its_folder(tmp_path: Path) -> None:
    got = encode(write_folder(tmp_path, per_class=5))
    assert got.features.classes == CLASSES
    np.testing.assert_array_equal(np.bincount(got.features.labels), [5, 5, 5])
    assert all(path.parent.name == CLASSES[label] for path, label in zip(got.files, got.features.labels, strict=True))
    np.testing.assert_allclose(np.linalg.norm(got.features.features.image, axis=1), 1.0, atol=1e-5)


def test_rows_are_the_same_whatever_batch_sizes_the_encoder_has(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    a, b = encode(folder, ladder=(1, 2, 4, 8, 16)), encode(folder, ladder=(4,))
    np.testing.assert_allclose(a.features.features.image, b.features.features.image, atol=1e-6)


def test_shots_take_a_fixed_draw_of_each_class(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, per_class=9)
    first, second = encode(folder, shots=3), encode(folder, shots=3)
    assert first.files == second.files
    np.testing.assert_array_equal(np.bincount(first.features.labels), [3, 3, 3])


def test_a_second_reading_encodes_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images")
    first = encode(folder, cache=tmp_path / "cache")
    encoder = FakeEncoder()
    second = encode(folder, encoder=encoder, cache=tmp_path / "cache")
    assert (first.n_encoded, second.n_encoded, encoder.batch_sizes) == (12, 0, [])
    np.testing.assert_allclose(first.features.features.image, second.features.features.image, atol=1e-3)
    assert first.sha256 == second.sha256


def test_a_damaged_cache_entry_is_encoded_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images")
    encode(folder, cache=tmp_path / "cache")
    entry = next((tmp_path / "cache").rglob("*.features"))
    entry.write_bytes(entry.read_bytes()[:-1])
    assert encode(folder, cache=tmp_path / "cache").n_encoded == 1
    assert encode(folder, cache=tmp_path / "cache").n_encoded == 0


def test_unreadable_files_are_listed_and_others_take_their_place(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, per_class=4)
    (folder / "ok" / "ok-000.png").write_bytes(b"")
    (folder / "ok" / "ok-001.png").write_bytes(b"\x89PNG not really")
    got = encode(folder, shots=2)
    assert {b.path.name for b in got.bad} <= {"ok-000.png", "ok-001.png"}
    np.testing.assert_array_equal(np.bincount(got.features.labels), [2, 2, 2])
    everything = encode(folder)
    assert sorted(b.path.name for b in everything.bad) == ["ok-000.png", "ok-001.png"]
    assert {b.class_id for b in everything.bad} == {"ok"}


def test_copies_of_one_picture_share_a_group_so_that_no_fold_parts_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "ok" / "copy.png").write_bytes((folder / "ok" / "ok-000.png").read_bytes())
    got = encode(folder)
    same = [i for i, path in enumerate(got.files) if path.name in ("copy.png", "ok-000.png")]
    assert len({int(got.features.groups[i]) for i in same}) == 1


def test_the_sum_follows_contents_and_classes_not_file_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    before = encode(folder).sha256
    (folder / "ok" / "ok-000.png").rename(folder / "ok" / "zzz.png")
    assert encode(folder).sha256 == before
    (folder / "ok" / "zzz.png").unlink()
    assert encode(folder).sha256 != before


def test_the_same_picture_in_two_classes_is_refused_naming_both_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "dent" / "x.png").write_bytes((folder / "ok" / "ok-000.png").read_bytes())
    with pytest.raises(DataError, match=r"ok-000\.png.*one class only.*x\.png"):
        encode(folder)


@pytest.mark.parametrize(
    ("classes", "message"),
    [((), "at least two classes, got none"), (("ok",), "at least two classes, got one: ok")],
)
def test_fewer_than_two_classes_are_refused(tmp_path: Path, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_support(write_folder(tmp_path, classes=classes))


def test_a_missing_folder_and_an_empty_class_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: expected a folder"):
        list_support(tmp_path / "nowhere")
    (write_folder(tmp_path) / "blister").mkdir()
    with pytest.raises(DataError, match=r"blister: expected images of class blister"):
        list_support(tmp_path)


def test_a_class_without_a_readable_image_is_refused_naming_class_and_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, per_class=2)
    for path in (folder / "ok").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"readable image of class ok, got 2 unreadable, the first ok-00\d\.png"):
        encode(folder)
