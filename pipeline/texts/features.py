"""Labelled feature rows from an NPZ file, as far as checking texts needs them."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

_TRAIN = re.compile(r"train(\d+)_x")


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Images as features, with class numbers in the order of the dictionary."""

    image: Float32Array  # (n, D)
    labels: Labels  # (n,)
    sentences: tuple[str, ...]
    text: Float32Array | None  # (len(sentences), D)
    source: str


def load_rows(path: Path, *, shots: int | None, classes: tuple[str, ...]) -> LabelledRows:
    """`x`, `y` or `train{K}_x`, `train{K}_y`; `classnames` says which class a number of y is.

    Raises DataError naming the file and what is wrong: absent arrays, NaN, classes the dictionary does not have.
    """
    where = str(path)
    arrays = _arrays(path)
    x_name, y_name = _names(arrays, shots=shots, where=where)
    image, y = np.asarray(arrays[x_name], dtype=np.float32), np.asarray(arrays[y_name])
    if image.ndim != 2 or y.shape != image.shape[:1] or not len(y):
        raise DataError(f"{where}: expected {x_name} (n, D) and {y_name} (n,), got {image.shape} and {y.shape}")
    if not np.isfinite(image).all():
        row = int(np.flatnonzero(~np.isfinite(image).all(axis=1))[0])
        raise DataError(f"{where}: expected finite features, got NaN or infinity in row {row} of {x_name}")
    names = tuple(str(name) for name in arrays["classnames"])
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= len(names):
        raise DataError(f"{where}: expected {y_name} to number the {len(names)} classnames from 0, got {y.dtype}")
    strangers = sorted(set(names) - set(classes))
    if strangers:
        raise DataError(f"{where}: expected classes of the dictionary, got {', '.join(strangers)} besides")
    order = np.array([classes.index(name) for name in names], dtype=np.int64)
    text = np.asarray(arrays["text_x"], dtype=np.float32) if "text_x" in arrays else None
    sentences = tuple(str(s) for s in arrays.get("sentences", ()))
    if text is not None and text.shape[:1] != (len(sentences),):
        raise DataError(f"{where}: expected a row of text_x per sentence, got {len(text)} and {len(sentences)}")
    return LabelledRows(image, order[y], sentences, text, where)


def _arrays(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    try:
        with np.load(path, allow_pickle=False) as z:
            arrays = {name: z[name] for name in z}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected an NPZ file without pickled objects, got: {error}") from error
    if "classnames" not in arrays:
        raise DataError(f"{path}: expected classnames beside the features, got {', '.join(arrays)}")
    return arrays


def _names(
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], *, shots: int | None, where: str
) -> tuple[str, str]:
    found = [int(match.group(1)) for name in arrays if (match := _TRAIN.fullmatch(name))]
    if shots is None and "x" in arrays:
        names = ("x", "y")
    elif found and (shots is None or shots in found):
        k = max(found) if shots is None else shots
        names = (f"train{k}_x", f"train{k}_y")
    else:
        wanted = "x or train{K}_x" if shots is None else f"train{shots}_x"
        raise DataError(f"{where}: expected {wanted}, got {', '.join(arrays)}")
    if names[1] not in arrays:
        raise DataError(f"{where}: expected {names[1]} beside {names[0]}, got {', '.join(arrays)}")
    return names
