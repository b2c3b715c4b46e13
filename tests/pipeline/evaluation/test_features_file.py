"""Features files: read whole or refused with file, array and class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.evaluation.features_file import load_features_file, load_pool


def arrays(**changed: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    made: dict[str, object] = {
        "classnames": np.array(["ok", "scratch", "dent"]),
        "train2_x": rng.normal(size=(6, 5)).astype(np.float16),
        "train2_y": np.repeat([0, 1, 2], 2).astype(np.int16),
        "test_x": rng.normal(size=(9, 5)).astype(np.float32),
        "test_y": np.arange(9) % 3,
        "val_x": rng.normal(size=(4, 5)).astype(np.float32),
        "val_y": np.array([99, 99, 99, 99]),  # nonsense on purpose: it must never be looked at
    }
    made |= changed
    return {k: v for k, v in made.items() if v is not None}


def write(folder: Path, **changed: object) -> Path:
    path = folder / "features.npz"
    np.savez(path, **arrays(**changed))
    return path


def test_rows_come_at_length_one_with_their_labels(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    assert file.classes == ("ok", "scratch", "dent")
    assert file.train[2].x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(file.train[2].x, axis=1), 1.0, atol=1e-5)
    assert file.val is not None
    assert file.text is None


def nan_at(row: int, *, shape: tuple[int, int]) -> np.ndarray:
    x = np.ones(shape, np.float32)
    x[row, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train2_x": nan_at(3, shape=(6, 5))}, r"train2_x: .* NaN or infinity in row 3 \(class scratch\)"),
        ({"test_x": nan_at(4, shape=(9, 5))}, r"test_x: .* row 4 \(class scratch\)"),
        ({"val_x": nan_at(1, shape=(4, 5))}, "val_x: .* NaN or infinity in row 1"),
        ({"train2_x": np.ones((6, 7), np.float32)}, "train2_x: expected rows of 5 values as in test_x, got 7"),
        ({"val_x": np.ones((6, 7), np.float32)}, "val_x: expected rows of 5 values as in test_x, got 7"),
        ({"classnames": np.array(["ok"])}, "classnames: expected at least two classes, got 1: ok"),
        ({"classnames": np.array(["ok", "ok", "dent"])}, "classnames: expected every class once, got ok twice"),
        ({"train2_y": np.array([0, 0, 1, 1, 1, 1])}, "train2_y: expected rows of every class, got none of: dent"),
        ({"train2_y": np.array([0, 0, 1, 1, 2, 7])}, "train2_y: expected class numbers 0 to 2, got 7"),
        ({"train2_y": np.array([0, 1])}, r"train2_y: expected one class number per row of train2_x \(6\)"),
        ({"train2_y": None}, "expected an array train2_y"),
        ({"test_x": None}, "expected an array test_x"),
        ({"train2_x": None}, "expected labelled rows in train_x or trainK_x"),
        ({"text_x": np.ones((2, 5), np.float32)}, r"text_x: expected one vector per class \(3, 5\), got \(2, 5\)"),
        ({"test_x": np.ones((9, 5), np.int64)}, "test_x: expected rows of floating-point features"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_array(tmp_path: Path, changed: dict, message: str) -> None:
    path = write(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as caught:
        load_features_file(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_features_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="got no such file"):
        load_features_file(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match=r"expected a readable \.npz"):
        load_features_file(path)


def test_a_class_without_text_is_a_row_of_zeros(tmp_path: Path) -> None:
    text = np.ones((3, 5), np.float32)
    text[1] = np.nan
    file = load_features_file(write(tmp_path, text_x=text))
    assert file.text is not None
    assert not file.text.prototypes[1].any()
    np.testing.assert_allclose(np.linalg.norm(file.text.prototypes[[0, 2]], axis=1), 1.0, atol=1e-6)


def test_a_pool_comes_from_val_or_from_any_array_of_another_file(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    assert load_pool("val", file=file).shape == (4, 5)
    np.savez(tmp_path / "line.npz", frames=np.ones((7, 5), np.float32))
    assert load_pool(f"{tmp_path / 'line.npz'}:frames", file=file).shape == (7, 5)
    with pytest.raises(DataError, match="expected an array nothing, got: frames"):
        load_pool(f"{tmp_path / 'line.npz'}:nothing", file=file)
    with pytest.raises(DataError, match=r"expected val or FILE\.npz:ARRAY"):
        load_pool("nonsense", file=file)
