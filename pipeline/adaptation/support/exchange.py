"""Exemplars and labels to and from Parquet, for notebooks, other lines and other tools."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adaptation.support.exemplars import Exemplar, Float16Array, StoredExemplar, SupportContext
from pipeline.adaptation.support.labels import Label, parse_label
from pipeline.errors import ConfigError, DataError
from pipeline.heads.bundles.atomic import write_atomic

EXTRA = "parquet"
_CONTEXT = ("source", "roi", "product", "encoder_sha256", "preprocessing_sha256")
_TEXTS = ("event_id", "label", "part", *_CONTEXT)


def write_exemplars(stored: Sequence[StoredExemplar], *, path: Path) -> None:
    """One row per exemplar, removed ones with their tombstone; embeddings as float32, which holds fp16 exactly."""
    rows = [
        {
            **{name: getattr(one.exemplar, name) for name in ("event_id", "label", "part", "margin", "evidence")},
            **{name: getattr(one.exemplar.context, name) for name in _CONTEXT},
            "role": one.role.value,
            "added_at": one.added_at,
            "removed_at": one.removed_at,
            "removed_why": one.removed_why,
            "embedding": _floats(one.exemplar.embedding),
            "levels": _floats(one.exemplar.levels),
        }
        for one in stored
    ]
    pa = _pyarrow()
    texts = [(name, pa.string()) for name in (*_TEXTS, "role", "removed_why", "evidence")]
    numbers = [(name, pa.float64()) for name in ("margin", "added_at", "removed_at")]
    vectors = [(name, pa.list_(pa.float32())) for name in ("embedding", "levels")]
    _write(rows, schema=pa.schema(texts + numbers + vectors), path=path)


def read_exemplars(path: Path) -> tuple[Exemplar, ...]:
    """Exemplars that were not removed. Raises DataError naming the file and the row.

    They are not trusted for being in a file: the store checks encoder and labels when they are added.
    """
    found = []
    for number, row in enumerate(_read(path)):
        if row.get("removed_at") is not None:
            continue
        where = f"{path}: row {number}"
        for name in _TEXTS:
            if not isinstance(row.get(name), str):
                raise DataError(f"{where}: {name}: expected text, got {type(row.get(name)).__name__}")
        embedding = _halves(row.get("embedding"), where=f"{where}: embedding")
        if embedding is None:
            raise DataError(f"{where}: embedding: expected numbers, got none")
        found.append(
            Exemplar(
                event_id=row["event_id"],
                label=row["label"],
                context=SupportContext(*(row[name] for name in _CONTEXT)),
                embedding=embedding,
                levels=_halves(row.get("levels"), where=f"{where}: levels"),
                part=row["part"],
                margin=row.get("margin"),
                evidence=row.get("evidence"),
            )
        )
    return tuple(found)


def write_labels(labels: Iterable[Label], *, path: Path) -> None:
    """One row per label."""
    pa = _pyarrow()
    texts = [(name, pa.string()) for name in ("event_id", "label", "labeller", "stream", "model_label")]
    rest = [("labelled_at", pa.float64()), ("inclusion_probability", pa.float64()), ("blind", pa.bool_())]
    _write([label.to_json() for label in labels], schema=pa.schema(texts + rest), path=path)


def read_labels(path: Path) -> tuple[Label, ...]:
    """Labels for `LabelIntake`. Raises DataError naming the file, the row and the column."""
    return tuple(parse_label(row, where=f"{path}: row {number}") for number, row in enumerate(_read(path)))


def _write(rows: list[dict[str, Any]], *, schema: Any, path: Path) -> None:
    pa, parquet = _pyarrow(), importlib.import_module("pyarrow.parquet")
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    write_atomic(path, content=sink.getvalue().to_pybytes())


def _read(path: Path) -> list[dict[str, Any]]:
    pa = _pyarrow()
    try:
        rows: list[dict[str, Any]] = importlib.import_module("pyarrow.parquet").read_table(path).to_pylist()
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a Parquet file, got no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a readable Parquet file, got: {error}") from error
    return rows


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ConfigError(
            f"Parquet: expected the package pyarrow, got none; install it with: pip install 'clearline[{EXTRA}]'"
        ) from error


def _floats(values: Float16Array | None) -> Any:
    return None if values is None else values.astype(np.float32)


def _halves(values: Any, *, where: str) -> Float16Array | None:
    if values is None:
        return None
    try:
        wide = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected a list of numbers, got {type(values).__name__}") from error
    half = wide.astype(np.float16)
    if wide.ndim != 1 or not np.array_equal(half.astype(np.float32), wide):
        raise DataError(f"{where}: expected values that fp16 holds exactly, got others; encode the images again")
    return half
