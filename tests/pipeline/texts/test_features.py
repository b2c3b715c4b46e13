"""Labelled features from an NPZ file: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.texts.features import load_rows

CLASSES = ("ok", "scratched")
X = np.eye(4, dtype=np.float32)
Y = np.array([0, 0, 1, 1])


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "features.npz"
    np.savez(path, **{"x": X, "y": Y, "classnames": np.array(["scratched", "ok"]), **arrays})
    return path


def test_numbers_of_y_become_those_of_the_dictionary(tmp_path: Path) -> None:
    rows = load_rows(save(tmp_path), shots=None, classes=CLASSES)
    np.testing.assert_array_equal(rows.labels, [1, 1, 0, 0])
    assert rows.text is None


def test_the_largest_or_the_wanted_number_of_shots_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "shots.npz"
    arrays = {f"train{k}_{a}": v[:k] for k in (1, 4) for a, v in (("x", X), ("y", Y))}
    np.savez(path, classnames=np.array(CLASSES), **arrays)
    assert len(load_rows(path, shots=None, classes=CLASSES).labels) == 4
    assert len(load_rows(path, shots=1, classes=CLASSES).labels) == 1
    with pytest.raises(DataError, match="expected train2_x, got"):
        load_rows(path, shots=2, classes=CLASSES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.where(X == 1, np.nan, X)}, "got NaN or infinity in row 0 of x"),
        ({"y": Y[:3]}, r"expected x \(n, D\) and y \(n,\)"),
        ({"y": Y + 1}, "to number the 2 classnames from 0"),
        ({"classnames": np.array(["ok", "rust"])}, "got rust besides"),
        ({"text_x": X, "sentences": np.array(["one"])}, "a row of text_x per sentence, got 4 and 1"),
        ({"x": np.array([object()])}, "without pickled objects"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_rows(path, shots=None, classes=CLASSES)
    assert "features.npz" in str(caught.value)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match="expected an NPZ file"):
        load_rows(path, shots=None, classes=CLASSES)
