"""Is the picture itself in order: light, focus, saturation, movement; learnt from pictures of a camera in order."""

from __future__ import annotations

import enum
import itertools
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.types import UInt8Array

LONG_SIDE = 112  # pixels; larger pictures are halved or more first
SATURATED = 250  # of 255
SPREADS = 8.0  # robust standard deviations that a healthy picture may be off
MIN_PICTURES = 200
SOFT_WEIGHT = 0.05  # of a picture in the smoothed sharpness: about the last twenty count
SOFT_SPREADS = 0.7  # below the healthy median; four deviations of the smoothed value, and a tenth of SPREADS
SMALLEST_SPREAD = (2.0, 0.05, 0.01, 0.05)  # grey levels; log; share; log: noise nobody should be called for


class SensorCheck(enum.StrEnum):
    """What is looked at."""

    BRIGHTNESS = "brightness"
    SHARPNESS = "sharpness"  # variance of the Laplacian over that of the grey levels: a dim lamp is no blur
    SATURATION = "saturation"
    NORM = "norm"  # length of the embedding before it was normalised
    FROZEN = "frozen"


MEASURED = (SensorCheck.BRIGHTNESS, SensorCheck.SHARPNESS, SensorCheck.SATURATION, SensorCheck.NORM)
_SHARPNESS = MEASURED.index(SensorCheck.SHARPNESS)


@dataclass(frozen=True, slots=True)
class SensorReading:
    """One picture in numbers."""

    values: tuple[float, ...]  # in the order of MEASURED; nan where not given
    checksum: int  # equal pictures have equal ones


@dataclass(frozen=True, slots=True)
class SensorLimits:
    """What a camera in order does."""

    low: tuple[float, ...]  # in the order of MEASURED
    high: tuple[float, ...]
    identical: int  # this many equal pictures in a row are too many


@dataclass(frozen=True, slots=True)
class SensorState:
    """After one picture."""

    odd: tuple[SensorCheck, ...]  # outside its limits now
    faults: tuple[SensorCheck, ...]  # for long enough to be believed
    changed: bool  # the faults are not those of the picture before


def read_picture(picture: UInt8Array, *, embedding_norm: float | None = None) -> SensorReading:
    """(S, S, 3) RGB, as the encoder gets it."""
    factor = math.ceil(max(picture.shape[:2]) / LONG_SIDE)
    size = (picture.shape[1] // factor, picture.shape[0] // factor)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if factor > 1:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    mean, contrast = cv2.meanStdDev(grey)
    edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1]
    values = (
        float(mean[0, 0]),
        math.log((edges[0, 0] ** 2 + 1.0) / (contrast[0, 0] ** 2 + 1.0)),
        float(np.count_nonzero(grey >= SATURATED)) / grey.size,
        math.log(embedding_norm) if embedding_norm else math.nan,
    )
    return SensorReading(values=values, checksum=zlib.crc32(grey.tobytes()))


def learn_limits(readings: Iterable[SensorReading], *, identical: int = 10) -> SensorLimits:
    """Median and 8 robust deviations of a recording in order; `identical` at least twice what it had itself.

    The spread is the larger of the middle half's and the outer ones', so that two kinds of part are no fault.
    """
    kept = list(readings)
    if len(kept) < MIN_PICTURES:
        raise DataError(f"sensor limits: expected at least {MIN_PICTURES} pictures, got {len(kept)}; record more")
    values = np.array([reading.values for reading in kept])
    low, high = [], []
    for column, smallest in zip(values.T, SMALLEST_SPREAD, strict=True):
        centre, spread = _centre_and_spread(column[np.isfinite(column)], smallest=smallest)
        low.append(centre - SPREADS * spread)
        high.append(centre + SPREADS * spread)
    longest, run = 1, 1
    for before, after in itertools.pairwise(kept):
        run = run + 1 if before.checksum == after.checksum else 1
        longest = max(longest, run)
    return SensorLimits(low=tuple(low), high=tuple(high), identical=max(identical, 2 * longest))


def _centre_and_spread(column: npt.NDArray[np.float64], *, smallest: float) -> tuple[float, float]:
    if column.size == 0:
        return 0.0, math.inf
    q = np.quantile(column, (0.01, 0.25, 0.5, 0.75, 0.99))
    spread = max(float(q[3] - q[1]) / 1.349, float(q[4] - q[0]) / 4.653, smallest)  # both 1 for a normal variable
    return float(q[2]), spread


class SensorWatch:
    """Counts per check up while it is odd and down while not: a fault is `persist` high, and over at zero."""

    def __init__(self, limits: SensorLimits, *, persist: int = 30) -> None:
        self._limits, self._persist = limits, persist
        self._counts = dict.fromkeys(SensorCheck, 0)
        self._faults: tuple[SensorCheck, ...] = ()
        self._checksum: int | None = None
        self._run = 1
        self._softness = 0.0  # smoothed, healthy spreads below the healthy median

    @property
    def is_soft(self) -> bool:
        """Have the last pictures, taken together, been less sharp than healthy ones? Each alone need not be odd."""
        return self._softness > SOFT_SPREADS

    @property
    def faults(self) -> tuple[SensorCheck, ...]:
        """What is wrong with the sensor; empty while it is in order."""
        return self._faults

    def update(self, reading: SensorReading) -> SensorState:
        """Take one picture."""
        self._run = self._run + 1 if reading.checksum == self._checksum else 1
        self._checksum = reading.checksum
        self._smooth(reading.values[_SHARPNESS])
        rows = zip(MEASURED, reading.values, self._limits.low, self._limits.high, strict=True)
        odd = [check for check, value, low, high in rows if value < low or value > high]
        if self._run >= self._limits.identical:
            odd.append(SensorCheck.FROZEN)
        before = self._faults
        for check, count in self._counts.items():
            self._counts[check] = min(count + 1, self._persist) if check in odd else max(count - 1, 0)
        self._faults = tuple(
            check for check, count in self._counts.items() if count >= self._persist or (count > 0 and check in before)
        )
        return SensorState(odd=tuple(odd), faults=self._faults, changed=self._faults != before)

    def _smooth(self, sharpness: float) -> None:
        low, high = self._limits.low[_SHARPNESS], self._limits.high[_SHARPNESS]
        softness = SPREADS * (high + low - 2.0 * sharpness) / (high - low)
        self._softness += SOFT_WEIGHT * (softness - self._softness)
