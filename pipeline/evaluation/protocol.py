"""Shots, seeds, draws: which rows a head is fitted on, judged once on the test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.features_file import FeaturesFile, LabelledRows
from pipeline.evaluation.metrics import accuracy, expected_calibration_error, mean_and_sd
from pipeline.heads.fit import KINDS, fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material, take_rows
from pipeline.types import Features, Float32Array

BATCH = 64  # rows a head scores at once when it is timed
ALIASES = {"ldc": "deconfusion"}
TIMED_ROWS = 1_024
REPEATS = 3

Timer = Callable[[], float]  # seconds; handed in, so that nothing here reads a clock


@dataclass(frozen=True, slots=True)
class Draw:
    """One support set."""

    shots: int
    seed: int
    source: str  # the array it comes from, and whether rows were drawn
    sha256: str  # of the row numbers, to recognise the same draw
    drawn: bool  # False: the file gives exactly these rows, so the seed changes folds only


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: means over the seeds."""

    head: str
    shots: int
    accuracy: float
    sd: float  # over seeds; of the folds alone where nothing is drawn
    ece: float
    fit_seconds: float  # with calibration and, for auto, all choices
    inference_microseconds: float  # per image, batch 64
    low: float  # Wilson's 95 % interval of the first seed's test accuracy
    high: float
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    draws: tuple[dict[str, Any], ...]
    about: tuple[dict[str, Any] | None, ...]  # what auto or a search tried, per seed

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def supports(file: FeaturesFile, *, shots: int, seeds: int) -> Iterator[tuple[Draw, LabelledRows]]:
    """One support set per seed.

    `train{K}` for exactly K shots is used whole with every seed (the protocol of such files): seeds then vary the
    folds and nothing else. Without it K rows per class are drawn by the seed from `train`, or from the smallest
    larger `train{M}`. Raises DataError where a class has fewer rows.
    """
    for seed in range(seeds):
        if shots in file.train and shots:
            rows = file.train[shots]
            yield _draw(np.arange(rows.y.size), shots=shots, seed=seed, source=f"train{shots}", drawn=False), rows
            continue
        larger = [k for k in file.train if k > shots] or [k for k in file.train if k == 0]
        if 0 in file.train:
            larger = [0]
        if not larger:
            have = ", ".join(f"train{k or ''}" for k in file.train)
            raise DataError(f"{file.path}: expected train{shots}_x, train_x or more shots to draw from, got {have}")
        name = f"train{larger[0] or ''}"
        source = file.train[larger[0]]
        chosen = _chosen(source, shots=shots, seed=seed, file=file, name=name)
        yield _draw(chosen, shots=shots, seed=seed, source=f"{name}, drawn", drawn=True), source.take(chosen)


def evaluate(
    file: FeaturesFile,
    *,
    heads: tuple[str, ...],
    shots: int,
    seeds: int,
    pool: Float32Array | None,
    timer: Timer,
    tune: bool = False,
) -> list[Row]:
    """One row per head at `shots` shots, every head on the same draws. Blocks."""
    unknown = [name for name in heads if ALIASES.get(name, name) not in KINDS]
    if unknown:
        raise DataError(f"--heads: expected some of {', '.join((*ALIASES, *KINDS))}, got {', '.join(unknown)}")
    material = Material(text=file.text, coder=file.coder, pool=pool)
    drawn = list(supports(file, shots=shots, seeds=seeds))
    test = file.test.features
    rows = []
    for head in heads:
        results = []
        for draw, support in drawn:
            labelled = LabelledFeatures(support.features, support.y, support.groups, file.classes)
            begun = timer()
            fitted = fit_head(labelled, material=material, kind=ALIASES.get(head, head), tune=tune, seed=draw.seed)
            seconds = timer() - begun
            results.append(_judge(fitted, draw=draw, seconds=seconds, test=test, file=file, timer=timer))
        rows.append(_row(head, shots=shots, results=results))
    return rows


@dataclass(frozen=True, slots=True)
class _Result:
    draw: Draw
    accuracy: float
    interval: tuple[float, float]
    ece: float
    fit_seconds: float
    inference_seconds: float
    about: dict[str, Any] | None


def _judge(
    fitted: FittedHead, *, draw: Draw, seconds: float, test: Features, file: FeaturesFile, timer: Timer
) -> _Result:
    logits = fitted.head.score(test).logits
    judged = accuracy(logits, labels=file.test.y)
    return _Result(
        draw=draw,
        accuracy=judged.value,
        interval=judged.interval,
        ece=expected_calibration_error(logits, labels=file.test.y, temperature=fitted.temperature),
        fit_seconds=seconds,
        inference_seconds=_seconds_per_image(fitted, test=test, timer=timer),
        about=fitted.report.choice,
    )


def _seconds_per_image(fitted: FittedHead, *, test: Features, timer: Timer) -> float:
    n = min(TIMED_ROWS, int(test.image.shape[0]))
    best = float("inf")
    for _ in range(REPEATS):
        begun = timer()
        for start in range(0, n, BATCH):
            fitted.head.score(take_rows(test, rows=np.arange(start, min(start + BATCH, n))))
        best = min(best, timer() - begun)
    return best / n


def _row(head: str, *, shots: int, results: list[_Result]) -> Row:
    mean, sd = mean_and_sd([r.accuracy for r in results])
    return Row(
        head=head,
        shots=shots,
        accuracy=mean,
        sd=sd,
        ece=mean_and_sd([r.ece for r in results])[0],
        fit_seconds=mean_and_sd([r.fit_seconds for r in results])[0],
        inference_microseconds=1e6 * min(r.inference_seconds for r in results),
        low=results[0].interval[0],
        high=results[0].interval[1],
        seeds=tuple(r.draw.seed for r in results),
        accuracies=tuple(r.accuracy for r in results),
        draws=tuple(asdict(r.draw) for r in results),
        about=tuple(r.about for r in results),
    )


def _draw(rows: np.ndarray[tuple[int], np.dtype[np.int64]], *, shots: int, seed: int, source: str, drawn: bool) -> Draw:
    sha256 = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()
    return Draw(shots=shots, seed=seed, source=source, sha256=sha256[:16], drawn=drawn)


def _chosen(
    source: LabelledRows, *, shots: int, seed: int, file: FeaturesFile, name: str
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """K source images per class, all rows of each."""
    rng = np.random.default_rng([seed, shots])
    kept = []
    for c, class_id in enumerate(file.classes):
        images = np.unique(source.groups[source.y == c])
        if images.size < shots:
            raise DataError(f"{file.path}: {name}: expected {shots} images of class {class_id}, got {images.size}")
        kept.append(np.flatnonzero(np.isin(source.groups, rng.permutation(images)[:shots]) & (source.y == c)))
    return np.concatenate(kept).astype(np.int64)
