"""Exemplars as folders of images, one per class, and labels as CSV or JSON lines: what people and other tools read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from pipeline.adaptation.support.exemplars import Exemplar
from pipeline.adaptation.support.labels import Label
from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import write_atomic

_COLUMNS = ("event_id", "label", "labeller", "labelled_at", "stream", "inclusion_probability", "blind", "model_label")
_UNSAFE = re.compile(r"[^\w.+=@-]")
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp", b"II*\0": ".tif"}
MAX_NAME = 120  # characters of a file name before its suffix

ReadImage = Callable[[Exemplar], bytes | None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export; `without_image` are events whose picture is gone."""

    n_images: int
    without_image: tuple[str, ...]


def write_folders(
    exemplars: Sequence[Exemplar],
    *,
    folder: Path,
    read_image: ReadImage,
    labels: Iterable[Label] = (),
    labels_format: Literal["csv", "jsonl"] = "csv",
) -> Exported:
    """`folder/<class>/<event>.jpg` and `folder/labels.csv`; `read_image` gives the bytes of a picture, or None.

    The folders can be given to `head fit` as they are. Raises DataError on a class that cannot name a folder.
    """
    n_images, without = 0, list[str]()
    for one in exemplars:
        name = _folder_name(one.label)
        content = read_image(one)
        if content is None:
            without.append(one.event_id)
            continue
        write_atomic(folder / name / f"{_file_name(one.event_id)}{_suffix(content)}", content=content)
        n_images += 1
    write = write_label_csv if labels_format == "csv" else write_label_lines
    write(labels, path=folder / f"labels.{labels_format}")
    return Exported(n_images=n_images, without_image=tuple(without))


def write_label_csv(labels: Iterable[Label], *, path: Path) -> None:
    """RFC 4180 with a header row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS)
    writer.writeheader()
    writer.writerows(label.to_json() for label in labels)
    write_atomic(path, content=text.getvalue().encode())


def write_label_lines(labels: Iterable[Label], *, path: Path) -> None:
    """One JSON object per line."""
    write_atomic(path, content=b"".join(orjson.dumps(label.to_json()) + b"\n" for label in labels))


def read_label_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, content) of each line of a `.csv`, `.jsonl` or `.json` file, for `LabelIntake.take`.

    A line that is no JSON object, or a row with more values than columns, comes as what it is: the intake quarantines
    it. Raises DataError where the file itself cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a file of labels in UTF-8, got: {error}") from error
    if path.suffix.lower() == ".csv":
        return _csv_rows(text, path=path)
    if path.suffix.lower() in (".jsonl", ".json"):
        return _json_lines(text, path=path)
    raise DataError(f"{path}: expected a file ending in .csv or .jsonl, got {path.suffix or 'no ending'}")


def _csv_rows(text: str, *, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), restkey="more values than columns")
    missing = [name for name in _COLUMNS[:5] if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path}: line 1: expected a column {', '.join(missing)}, got {reader.fieldnames}")
    return ((f"{path}: line {reader.line_num}", row) for row in reader)


def _json_lines(text: str, *, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        where = f"{path}: line {number}"
        yield where, content if isinstance(content, dict) else {"not a JSON object": line}


def _folder_name(label: str) -> str:
    """The class id itself, or a refusal: a changed name would come back as another class."""
    if not label or label.startswith(".") or "/" in label or "\\" in label or "\0" in label or len(label) > MAX_NAME:
        raise DataError(f"class {label!r}: expected a class id that can name a folder, got one that cannot; rename it")
    return label


def _file_name(event_id: str) -> str:
    """Readable, and unique even where characters had to be replaced."""
    plain = _UNSAFE.sub("_", event_id)[:MAX_NAME].lstrip(".")
    if plain == event_id:
        return plain
    return f"{plain}-{hashlib.sha256(event_id.encode()).hexdigest()[:12]}"


def _suffix(content: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES.items() if content.startswith(magic)), ".jpg")
