"""Readiness check: known pictures must give the expected embeddings, in any row of any batch size, on this device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.encoders.ladder import as_batch, check_ladder
from pipeline.encoders.precision import MIN_COSINE, centred_cosine
from pipeline.encoders.tower import ImageTower, to_features
from pipeline.errors import EncoderError
from pipeline.interfaces import Encoder
from pipeline.types import Features, UInt8Array

N_PICTURES = 8
# Largest difference of a component of a unit embedding. fp32 differs by the order of sums, the others by rounding.
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 3e-2}
STORED_NAME = "golden.json"
_STORED_DECIMALS = 6
_STORED_TOLERANCE = 1e-4  # between machines, fp32 one by one


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One batch size: the worst row."""

    size: int
    cosine: float  # smallest centred cosine, embedding and levels
    difference: float  # largest difference of a component of the embedding


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """The figures of a passed check."""

    encoder: str
    sha256: str
    precision: str
    buckets: tuple[BucketReport, ...]


def pictures(side: int) -> UInt8Array:
    """(8,side,side,3) uint8, the same on every machine: whole-number arithmetic from a seed, no two alike."""
    rng = np.random.default_rng(20250131)
    y, x = np.mgrid[:side, :side] * 256 // side  # 0..255 over the picture, whatever its size
    rows = []
    for index in range(N_PICTURES):
        paints = rng.integers(0, 256, size=(3, 3))  # three colours
        cx, cy, radius, step = rng.integers((40, 40, 30, 12), (216, 216, 100, 60))
        shade = (x * (index % 3) + y * (2 - index % 3))[..., None] // 2  # (side,side,1), 0..255
        image = (paints[0] * (255 - shade) + paints[1] * shade) // 255
        disc = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        stripes = (x + y * (index % 4)) // step % 2 == 0
        image[disc ^ (stripes & (index % 2 == 0))] = paints[2]
        grain = rng.integers(-12, 13, size=(32, 32, 1))[y // 8, x // 8]
        rows.append(np.clip(image + grain, 0, 255).astype(np.uint8))
    return np.stack(rows)


@torch.no_grad()
def expected_features(tower: ImageTower, *, side: int) -> Features:
    """What the golden pictures give in fp32 on the host, one by one: the reference for every other way to run it."""
    rows = [to_features(tower(torch.from_numpy(row[None]))) for row in pictures(side)]
    return _stack(rows)


def check(
    encoder: Encoder, ladder: Sequence[int], *, expected: Features | None = None, precision: str = "fp32"
) -> GoldenReport:
    """Run every size of the ladder and compare each row; `expected` is that of `expected_features`.

    Without `expected` the encoder is compared with itself, one by one, which leaves only the batch sizes checked.
    Every picture meets other rows and other neighbours in every size, and a quarter of the rows is padding.
    Raises EncoderError with the figures of the first size that differs.
    """
    info = encoder.info
    golden = pictures(info.image_size)
    if expected is None:
        expected = _stack([encoder.encode(as_batch(picture[None])) for picture in golden])
    reports = []
    for size in check_ladder(ladder):
        n_padding = size // 4
        picks = (np.arange(size - n_padding) * 3 + size) % N_PICTURES  # 3 is coprime to 8: all pictures in turn
        batch = np.zeros((size, *golden.shape[1:]), dtype=np.uint8)
        batch[: len(picks)] = golden[picks]
        got = encoder.encode(as_batch(batch)).rows(len(picks))
        report = _compare(got, expected, picks=picks, size=size)
        if not (report.cosine >= MIN_COSINE and report.difference <= TOLERANCE[precision]):
            raise EncoderError(
                f"encoder {info.name} ({precision}): golden pictures in a batch of {size} must give the expected "
                f"embeddings (centred cosine >= {MIN_COSINE}, difference <= {TOLERANCE[precision]:g}), "
                f"got cosine {report.cosine:.5f}, difference {report.difference:.2g}; try another precision or back-end"
            )
        reports.append(report)
    return GoldenReport(encoder=info.name, sha256=info.sha256, precision=precision, buckets=tuple(reports))


def write_stored(path: Path, *, expected: Features, sha256: str) -> None:
    """Keep the expected embeddings beside the weights, so that damaged weights are noticed."""
    rows = [[round(float(value), _STORED_DECIMALS) for value in row] for row in expected.image]
    path.write_text(json.dumps({"weights_sha256": sha256, "embeddings": rows}) + "\n", encoding="utf-8")


def check_stored(path: Path, *, expected: Features, sha256: str) -> None:
    """Raise EncoderError unless these weights give here what they gave when `write_stored` was called."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored_sha256, embeddings = stored["weights_sha256"], np.asarray(stored["embeddings"], dtype=np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(f"{path}: the stored golden values cannot be read: {error!r}") from error
    if stored_sha256 != sha256:
        raise EncoderError(
            f"{path}: the weights must have sha256 {stored_sha256}, got {sha256}; the weight file is "
            "damaged or was replaced: install the package again"
        )
    difference = (
        float(np.abs(embeddings - expected.image).max()) if embeddings.shape == expected.image.shape else np.inf
    )
    if not difference <= _STORED_TOLERANCE:
        raise EncoderError(
            f"{path}: golden pictures must give the stored embeddings within {_STORED_TOLERANCE:g}, "
            f"got a difference of {difference:.2g}; torch computes wrongly on this machine"
        )


def _compare(got: Features, expected: Features, *, picks: np.ndarray, size: int) -> BucketReport:
    pairs = [(expected.image, got.image), *zip(expected.levels, got.levels, strict=True)]
    cosines = [
        float(centred_cosine(reference[picks], values, mean=reference.mean(axis=0)).min())
        for reference, values in pairs
    ]
    difference = float(np.abs(expected.image[picks] - got.image).max())
    return BucketReport(size=size, cosine=min(cosines), difference=difference)


def _stack(rows: Sequence[Features]) -> Features:
    levels = zip(*(row.levels for row in rows), strict=True)
    return Features(
        image=np.concatenate([row.image for row in rows]), levels=tuple(np.concatenate(level) for level in levels)
    )
