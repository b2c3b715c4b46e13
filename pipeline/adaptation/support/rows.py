"""The rows a head is fitted on: sorted, hashed, as arrays, and as an immutable file to rebuild the head from."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from pipeline.adaptation.support.exemplars import Exemplar, Float16Array, SupportContext
from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.types import EncoderInfo, Float32Array

FORMAT = "clearline.support/1"
_KEY = "clearline"


@dataclass(frozen=True, eq=False)
class SupportArrays:
    """What a head is fitted on; rows are sorted, so the same store gives the same bytes."""

    embeddings: Float32Array  # (N, D)
    levels: tuple[Float32Array, ...]  # per level (N, width); empty where a row has none
    labels: npt.NDArray[np.int64]  # (N,), index into classes
    groups: npt.NDArray[np.int64]  # (N,), rows of one source image share a number
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SupportRows:
    """Living exemplars at one instant, sorted by label, context and event."""

    exemplars: tuple[Exemplar, ...]
    encoder_sha256: str
    preprocessing_sha256: str
    level_dims: tuple[int, ...]
    sha256: str

    @property
    def seed(self) -> int:
        """First eight bytes of the hash: a head fitted on the same rows starts from the same seed."""
        return int.from_bytes(bytes.fromhex(self.sha256)[:8], "big")

    def as_support(self, classes: tuple[str, ...]) -> SupportArrays:
        """Rows of these classes as arrays. Raises DataError naming a class without rows; others are left out."""
        rows = [one for one in self.exemplars if one.label in classes]
        empty = [name for name in classes if not any(one.label == name for one in rows)]
        if empty or len(set(classes)) != len(classes):
            got = f"none of {', '.join(empty)}" if empty else "a class twice"
            raise DataError(f"support store: expected exemplars of every class once, got {got}; label some parts of it")
        named: dict[str, int] = {}
        groups = [named.setdefault(one.group, len(named)) for one in rows]
        return SupportArrays(
            embeddings=np.stack([one.embedding for one in rows]).astype(np.float32),
            levels=_levels(rows, dims=self.level_dims),
            labels=np.asarray([classes.index(one.label) for one in rows], np.int64),
            groups=np.asarray(groups, np.int64),
            classes=classes,
        )


def support_rows(exemplars: list[Exemplar], *, encoder: EncoderInfo) -> SupportRows:
    """Sorted and hashed: the hash says what was fitted, whatever the order of insertion, the roles and the instants."""
    return _rows(exemplars, sums=(encoder.sha256, encoder.preprocessing_sha256), level_dims=encoder.level_dims)


def _rows(exemplars: list[Exemplar], *, sums: tuple[str, str], level_dims: tuple[int, ...]) -> SupportRows:
    ordered = tuple(sorted(exemplars, key=lambda one: (one.label, one.context, one.event_id)))
    digest = hashlib.sha256(json.dumps([FORMAT, *sums, level_dims]).encode())
    for one in ordered:
        names = (one.label, one.context.source, one.context.roi, one.context.product, one.event_id, one.group)
        levels = b"" if one.levels is None else one.levels.tobytes()
        head = json.dumps([*names, one.embedding.size, len(levels)]).encode()
        digest.update(struct.pack("<I", len(head)) + head + one.embedding.tobytes() + levels)
    return SupportRows(ordered, *sums, level_dims, digest.hexdigest())


def _levels(rows: list[Exemplar], *, dims: tuple[int, ...]) -> tuple[Float32Array, ...]:
    found = [one.levels for one in rows if one.levels is not None]
    if not dims or len(found) != len(rows):
        return ()
    return tuple(np.split(np.stack(found).astype(np.float32), np.cumsum(dims)[:-1], axis=1))


def write_snapshot(rows: SupportRows, *, path: Path) -> None:
    """Write once: the same rows again are nothing to do, other rows are refused. Raises DataError."""
    if path.exists():
        if load_snapshot(path).sha256 != rows.sha256:
            raise DataError(
                f"{path}: expected a new path for a snapshot, got one of other rows; snapshots never change"
            )
        return
    columns = ("event_id", "label", "source", "roi", "product", "part", "margin", "evidence")
    table = [
        (e.event_id, e.label, e.context.source, e.context.roi, e.context.product, e.part, e.margin, e.evidence)
        for e in rows.exemplars
    ]
    header = {
        "format": FORMAT,
        "sha256": rows.sha256,
        "encoder_sha256": rows.encoder_sha256,
        "preprocessing_sha256": rows.preprocessing_sha256,
        "level_dims": rows.level_dims,
        "columns": columns,
        "rows": table,
        "has_levels": [e.levels is not None for e in rows.exemplars],
    }
    levels = [e.levels for e in rows.exemplars if e.levels is not None]
    tensors = {"embeddings": _stack([e.embedding for e in rows.exemplars]), "levels": _stack(levels)}
    write_atomic(path, content=safetensors.numpy.save(tensors, metadata={_KEY: json.dumps(header)}))
    path.chmod(0o444)


def _stack(rows: list[Float16Array]) -> Float16Array:
    return np.stack(rows) if rows else np.zeros((0, 0), np.float16)


def load_snapshot(path: Path) -> SupportRows:
    """The rows again, verified by their hash. Raises DataError where the file is absent, torn or changed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a snapshot of a support store, got: {error.strerror}") from error
    try:
        tensors = safetensors.numpy.load(content)
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
        sums = (str(header["encoder_sha256"]), str(header["preprocessing_sha256"]))
        levels = iter(tensors["levels"])
        exemplars = [
            Exemplar(
                event_id=event_id,
                label=label,
                context=SupportContext(source, roi, product, *sums),
                embedding=tensors["embeddings"][i],
                levels=next(levels) if header["has_levels"][i] else None,
                part=part,
                margin=margin,
                evidence=evidence,
            )
            for i, (event_id, label, source, roi, product, part, margin, evidence) in enumerate(header["rows"])
        ]
        rows = _rows(exemplars, sums=sums, level_dims=tuple(header["level_dims"]))
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, StopIteration, struct.error) as error:
        raise DataError(f"{path}: expected a whole snapshot of a support store, got: {error}; copy it again") from error
    if rows.sha256 != header.get("sha256") or header.get("format") != FORMAT:
        raise DataError(f"{path}: expected rows with hash {header.get('sha256')}, got {rows.sha256}; it was changed")
    return rows


def changed_shares(before: SupportRows, *, after: SupportRows) -> dict[str, float]:
    """By class, how many of the exemplars of both are in one only, 0 to 1 of the larger: what a run changed.

    A class that is new counts as wholly changed.
    """
    shares = {}
    for label in sorted({one.label for rows in (before, after) for one in rows.exemplars}):
        old = {(one.context, one.event_id) for one in before.exemplars if one.label == label}
        new = {(one.context, one.event_id) for one in after.exemplars if one.label == label}
        shares[label] = max(len(old - new), len(new - old)) / max(len(old), len(new))
    return shares
