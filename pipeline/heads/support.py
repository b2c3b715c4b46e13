"""The support set: a folder per class with a few labelled images each, read and encoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.encoders.ladder import as_batch, choose_bucket
from pipeline.errors import BadFrame, DataError
from pipeline.heads.bundles.feature_cache import FeatureCache
from pipeline.heads.fitted import LabelledFeatures
from pipeline.interfaces import Encoder
from pipeline.types import Features, UInt8Array

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
ENCODE_BATCH = 16  # images per call; nearly the best throughput of every back-end

Cut = Callable[[UInt8Array], UInt8Array]  # (H, W, 3) BGR -> (S, S, 3) RGB, as `preprocess.Preprocessor`


@dataclass(frozen=True, slots=True)
class SupportFolder:
    """Image files per class, in the order they will be tried."""

    folder: Path
    files: dict[str, tuple[Path, ...]]  # by class id, classes sorted

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted class ids."""
        return tuple(self.files)


@dataclass(frozen=True, slots=True)
class BadImage:
    """A file that could not be used."""

    path: Path
    class_id: str
    reason: str


@dataclass(frozen=True, eq=False)
class SupportSet:
    """The support set as features, and what was left out of it."""

    features: LabelledFeatures
    files: tuple[Path, ...]  # by row
    bad: tuple[BadImage, ...]
    sha256: str  # of classes and image contents, whatever the files are called
    n_encoded: int  # images that were not in the cache


@dataclass
class _Rows:
    """Rows as they come in."""

    found: dict[int, Features] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    bad: list[BadImage] = field(default_factory=list)
    n_encoded: int = 0


def list_support(folder: Path, *, seed: int = 0) -> SupportFolder:
    """Find a folder per class. Raises DataError naming folder and class when there is nothing to fit.

    Within a class the files are shuffled by `seed`, so that the first K of them are a fair draw.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with one folder of images per class, got no such folder")
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {p.name: tuple(_shuffled(_images(p), seed=seed)) for p in subfolders}
    if len(files) < 2:
        got = f"one: {subfolders[0].name}" if files else "none"
        raise DataError(f"{folder}: expected folders of at least two classes, got {got}; add a folder per class")
    empty = [name for name, found in files.items() if not found]
    if empty:
        raise DataError(
            f"{folder / empty[0]}: expected images of class {empty[0]} ({', '.join(sorted(IMAGE_SUFFIXES))}), got none"
            + (f"; also empty: {', '.join(empty[1:])}" if empty[1:] else "")
        )
    return SupportFolder(folder=folder, files=files)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _shuffled(files: list[Path], *, seed: int) -> Iterator[Path]:
    return (files[i] for i in np.random.default_rng(seed).permutation(len(files)))


def encode_support(
    support: SupportFolder,
    *,
    encoder: Encoder,
    ladder: tuple[int, ...],
    cut: Cut,
    region: str = "full",
    cache: FeatureCache | None = None,
    shots: int | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> SupportSet:
    """Read, cut and encode up to `shots` images per class, from the cache where they are known. Blocks.

    An unreadable file is listed in `bad` and the next one of its class takes its place; a class without any readable
    image raises DataError, as does the same picture in two classes.
    """
    rows, waiting = _Rows(), list[tuple[int, UInt8Array]]()
    per_class = [min(len(files), shots or len(files)) for files in support.files.values()]
    for label, class_id in enumerate(support.classes):
        n_before = len(rows.labels)
        for path in support.files[class_id]:
            if len(rows.labels) - n_before >= per_class[label]:
                break
            try:
                _take(path, label=label, rows=rows, waiting=waiting, cut=cut, cache=cache, region=region)
            except BadFrame as error:
                rows.bad.append(BadImage(path=path, class_id=class_id, reason=str(error)))
            if len(waiting) == ENCODE_BATCH:
                _encode(waiting, rows=rows, encoder=encoder, ladder=ladder, cache=cache, region=region)
            on_progress(min(1.0, len(rows.labels) / sum(per_class)))
        if len(rows.labels) == n_before:
            first = next(b for b in rows.bad if b.class_id == class_id)
            raise DataError(
                f"{support.folder / class_id}: expected at least one readable image of class {class_id}, got "
                f"{len(support.files[class_id])} unreadable, the first {first.path.name}: {first.reason}"
            )
    _encode(waiting, rows=rows, encoder=encoder, ladder=ladder, cache=cache, region=region)
    return _collect(rows, support=support)


def _take(
    path: Path,
    *,
    label: int,
    rows: _Rows,
    waiting: list[tuple[int, UInt8Array]],
    cut: Cut,
    cache: FeatureCache | None,
    region: str,
) -> None:
    """One file becomes a row, its features from the cache or later from the encoder. Raises BadFrame."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFrame(f"cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    known = cache.get(sha256, region=region) if cache is not None else None
    row = len(rows.labels)
    if known is not None:
        rows.found[row] = known
    else:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if image is None:
            raise BadFrame(f"expected a picture, got {len(content)} bytes that cannot be decoded")
        waiting.append((row, cut(np.asarray(image, np.uint8))))
    rows.labels.append(label)
    rows.sums.append(sha256)
    rows.files.append(path)


def _encode(
    waiting: list[tuple[int, UInt8Array]],
    *,
    rows: _Rows,
    encoder: Encoder,
    ladder: tuple[int, ...],
    cache: FeatureCache | None,
    region: str,
) -> None:
    """Encode what is waiting, padded to sizes the encoder is prepared for, and keep it."""
    while waiting:
        part, waiting[:] = waiting[: ladder[-1]], waiting[ladder[-1] :]
        size = choose_bucket(len(part), ladder=ladder)
        pixels = np.zeros((size, *part[0][1].shape), np.uint8)
        pixels[: len(part)] = np.stack([image for _, image in part])
        features = encoder.encode(as_batch(pixels))
        for i, (row, _) in enumerate(part):
            levels = tuple(level[i : i + 1].copy() for level in features.levels)
            one = Features(image=features.image[i : i + 1].copy(), levels=levels)
            rows.found[row] = one
            if cache is not None:
                cache.put(rows.sums[row], features=one, region=region)
        rows.n_encoded += len(part)


def _collect(rows: _Rows, *, support: SupportFolder) -> SupportSet:
    first: dict[str, int] = {}
    for row, sha256 in enumerate(rows.sums):
        other = first.setdefault(sha256, row)
        if rows.labels[other] != rows.labels[row]:
            raise DataError(
                f"{rows.files[row]}: expected a picture in one class only, got the same as {rows.files[other]}; "
                "remove it from one of the folders"
            )
    found = [rows.found[row] for row in range(len(rows.labels))]
    levels = tuple(np.concatenate(parts) for parts in zip(*(f.levels for f in found), strict=True))
    features = Features(image=np.concatenate([f.image for f in found]), levels=levels)
    named = sorted(f"{support.classes[label]}:{sha256}" for label, sha256 in zip(rows.labels, rows.sums, strict=True))
    groups = np.asarray([first[sha256] for sha256 in rows.sums], np.int64)
    labels = np.asarray(rows.labels, np.int64)
    return SupportSet(
        features=LabelledFeatures(features=features, labels=labels, groups=groups, classes=support.classes),
        files=tuple(rows.files),
        bad=tuple(rows.bad),
        sha256=hashlib.sha256("\n".join(named).encode()).hexdigest(),
        n_encoded=rows.n_encoded,
    )
