"""Features files: `train{K}_x, train{K}_y, test_x, test_y, classnames`, checked before anything is fitted."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Kind, text_rows
from pipeline.heads.coder.head import CoderHead, make_coder_head
from pipeline.heads.mixed_prior import has_text
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

_TRAIN = re.compile(r"^train(\d*)_x$")
TEXT_SCALE = 100.0  # CLIP's own logit scale, where the file does not give `text_scale`


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of one split; `groups` numbers the source image of each row."""

    x: Float32Array  # (N, D), unit rows
    y: Labels  # (N,)
    groups: Labels  # (N,)
    levels: tuple[Float32Array, ...] = ()  # per level (N, 2W); files have none

    @property
    def features(self) -> Features:
        """As heads take them."""
        return Features(image=self.x, levels=self.levels)

    def take(self, rows: Labels) -> LabelledRows:
        """Some of the rows."""
        levels = tuple(level[rows] for level in self.levels)
        return LabelledRows(x=self.x[rows], y=self.y[rows], groups=self.groups[rows], levels=levels)


@dataclass(frozen=True, eq=False)
class FeaturesFile:
    """A checked features file."""

    path: Path
    classes: tuple[str, ...]
    train: Mapping[int, LabelledRows]  # by shots; 0 is the undivided `train_x`, from which shots are drawn
    test: LabelledRows
    val: Float32Array | None  # (M, D), unit rows; its labels are never read
    text: ZeroShotHead | None  # zeros where a class has no text
    coder: CoderHead | None  # all texts; where the file has one vector per class, that is all there are


def load_features_file(path: Path) -> FeaturesFile:
    """Read and check. Raises DataError naming the file, the array and the class.

    Rows are brought to length one. `train_x` (no number) holds rows to draw from. Arrays ending in `_group` say which
    rows come from one source image. A row of NaN in `text_x` says that the class has no text.
    """
    arrays = read_npz(path)
    names = arrays.get("classnames")
    if names is None or names.ndim != 1 or names.size < 2:
        got = "no such array" if names is None else f"{names.size}: {', '.join(map(str, names.ravel()[:1]))}"
        raise DataError(f"{path}: classnames: expected at least two classes, got {got}")
    classes = tuple(map(str, names))
    if len(set(classes)) != len(classes):
        twice = next(c for c in classes if classes.count(c) > 1)
        raise DataError(f"{path}: classnames: expected every class once, got {twice} twice")
    found = {name: int(match[1] or 0) for name in arrays if (match := _TRAIN.match(name))}
    if not found:
        raise DataError(f"{path}: expected labelled rows in train_x or trainK_x, got: {', '.join(sorted(arrays))}")
    test = _labelled(arrays, name="test_x", classes=classes, path=path, complete=False)
    train = {k: _labelled(arrays, name=name, classes=classes, path=path, complete=True) for name, k in found.items()}
    for name, k in found.items():
        _same_width(train[k].x, width=test.x.shape[1], name=name, path=path)
    text = _text(arrays, classes=classes, width=test.x.shape[1], path=path)
    val = check_rows(arrays["val_x"], name="val_x", path=path, width=test.x.shape[1]) if "val_x" in arrays else None
    return FeaturesFile(
        path=path,
        classes=classes,
        train=dict(sorted(train.items())),
        test=test,
        val=val,
        text=text,
        coder=None if text is None else _coder(text),
    )


def load_pool(text: str, *, file: FeaturesFile) -> Float32Array:
    """Unlabelled rows (M, D) from `val` (the file's own val_x) or `FILE.npz:ARRAY`. Raises DataError."""
    if text == "val":
        if file.val is None:
            raise DataError(f"{file.path}: expected val_x for --unlabelled val, got no such array")
        return file.val
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise DataError(f"--unlabelled: expected val or FILE.npz:ARRAY, got {text}")
    arrays = read_npz(Path(place))
    if name not in arrays:
        raise DataError(f"{place}: expected an array {name}, got: {', '.join(sorted(arrays))}")
    return check_rows(arrays[name], name=name, path=Path(place), width=file.test.x.shape[1])


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a file, without pickles. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as content:
            if not hasattr(content, "files"):
                raise DataError(f"{path}: expected an .npz of named arrays, got a single array")
            return {name: content[name] for name in content.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a features file, got no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected a readable .npz without pickled objects, got: {error}") from error


def check_rows(x: npt.NDArray[Any], *, name: str, path: Path, width: int | None) -> Float32Array:
    """(N, D) finite rows at length one; raises DataError naming file, array and row."""
    if x.ndim != 2 or 0 in x.shape or not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"{path}: {name}: expected rows of floating-point features (N, D), got {x.shape} {x.dtype}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise DataError(f"{path}: {name}: expected finite features, got NaN or infinity in row {bad[0]}")
    rows = x.astype(np.float32)
    if width is not None:
        _same_width(rows, width=width, name=name, path=path)
    return unit_rows(rows)


def _labelled(
    arrays: Mapping[str, npt.NDArray[Any]], *, name: str, classes: tuple[str, ...], path: Path, complete: bool
) -> LabelledRows:
    label_name = f"{name[:-1]}y"
    for needed in (name, label_name):
        if needed not in arrays:
            raise DataError(f"{path}: expected an array {needed}, got: {', '.join(sorted(arrays))}")
    y = arrays[label_name]
    if not np.issubdtype(y.dtype, np.integer) or y.shape != arrays[name].shape[:1]:
        expected = f"one class number per row of {name} ({arrays[name].shape[0]})"
        raise DataError(f"{path}: {label_name}: expected {expected}, got {y.shape} {y.dtype}")
    if y.size and (y.min() < 0 or y.max() >= len(classes)):
        odd = y[(y < 0) | (y >= len(classes))][0]
        raise DataError(f"{path}: {label_name}: expected class numbers 0 to {len(classes) - 1}, got {odd}")
    bad = np.flatnonzero(~np.isfinite(np.asarray(arrays[name], np.float64)).all(axis=1))
    if bad.size:
        where = f"row {bad[0]} (class {classes[int(y[bad[0]])]})"
        raise DataError(f"{path}: {name}: expected finite features, got NaN or infinity in {where}")
    missing = [c for i, c in enumerate(classes) if complete and not (y == i).any()]
    if missing:
        raise DataError(f"{path}: {label_name}: expected rows of every class, got none of: {', '.join(missing)}")
    groups = arrays.get(f"{name[:-1]}group", np.arange(y.size))
    if groups.shape != y.shape:
        raise DataError(f"{path}: {name[:-1]}group: expected one number per row ({y.size}), got {groups.shape}")
    x = check_rows(arrays[name], name=name, path=path, width=None)
    return LabelledRows(x=x, y=y.astype(np.int64), groups=np.unique(groups, return_inverse=True)[1].astype(np.int64))


def _text(
    arrays: Mapping[str, npt.NDArray[Any]], *, classes: tuple[str, ...], width: int, path: Path
) -> ZeroShotHead | None:
    if "text_x" not in arrays:
        return None
    text = np.asarray(arrays["text_x"], np.float32)
    if text.shape != (len(classes), width):
        raise DataError(f"{path}: text_x: expected one vector per class {(len(classes), width)}, got {text.shape}")
    known = np.isfinite(text).all(axis=1, keepdims=True)
    scale = float(arrays["text_scale"]) if "text_scale" in arrays else TEXT_SCALE
    rows = unit_rows(np.where(known, text, np.float32(0)))
    return ZeroShotHead(classes=classes, prototypes=rows, scale=scale)


def _coder(text: ZeroShotHead) -> CoderHead | None:
    """CODER with the name of every class as its only text; None where a class has none."""
    if not has_text(text).all():
        return None
    rows = text_rows([(Kind.NAME, text.prototypes, np.arange(len(text.classes)))], n_classes=len(text.classes))
    return make_coder_head(rows, classes=text.classes, scale=text.scale)


def _same_width(x: Float32Array, *, width: int, name: str, path: Path) -> None:
    if x.shape[1] != width:
        raise DataError(f"{path}: {name}: expected rows of {width} values as in test_x, got {x.shape[1]}")
