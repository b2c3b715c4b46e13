"""Five EWMA charts over one context's stream of parts: O(1) state, whatever the batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.blocks import CHARTS, Float64Array, Int32Array, PartSums
from pipeline.adaptation.drift.profile import ReferenceProfile
from pipeline.errors import DataError
from pipeline.types import Float32Array

SIGNED = ("dispersion", "novelty", "confidence")  # charts of one number: above or below the reference says what it is


@dataclass(frozen=True, slots=True)
class ChartReading:
    """The charts after one finished block; per-chart values in the order of CHARTS."""

    block: int  # from 1
    n_parts: int  # that went into all blocks so far
    statistics: tuple[float, ...]
    limits: tuple[float, ...]
    rising: tuple[bool, ...]  # the chart's number is above the reference's; True for charts of many numbers
    expected_accuracy: float  # smoothed calibrated confidence; right only while the head is calibrated
    far_share: float  # smoothed share of parts farther from their class than 99 % of the reference

    @property
    def ratios(self) -> tuple[float, ...]:
        """Statistic over limit: 1 is the limit."""
        return tuple(s / limit for s, limit in zip(self.statistics, self.limits, strict=True))


class Charts:
    """State of all five charts. One thread calls it; the reference may be shared."""

    def __init__(self, reference: ReferenceProfile) -> None:
        self.reference = reference
        self._projection, self._block = reference.projection, reference.rules.block
        widths = reference.projection.widths
        ends = np.cumsum(widths)
        self._starts = (ends - widths).astype(np.intp)
        self._mean = np.concatenate([spec.mean for spec in reference.charts])
        self._weight = np.repeat([spec.weight for spec in reference.charts], widths)
        self._whiten = np.zeros((ends[-1], ends[-1]))
        for spec, start, end in zip(reference.charts, self._starts, ends, strict=True):
            self._whiten[start:end, start:end] = spec.whiten
        self._limits = tuple(spec.limit for spec in reference.charts)
        self._scalar = np.array([name in SIGNED for name in CHARTS])
        self._ewma = self._mean.copy()
        self._open = self._empty()
        self.n_blocks = 0
        self.n_in_block = 0
        self.n_unusable = 0  # parts left out because a number of theirs was not finite

    def update(self, embeddings: npt.NDArray[np.floating[Any]], *, probabilities: Float32Array) -> list[ChartReading]:
        """Take the next n parts, any n; a reading for each block they finish. Raises DataError for wrong shapes.

        A few long calls cost less than many short ones: the work per call is that of about 20 parts.
        """
        self._projection.check(embeddings, probabilities=probabilities)
        x = embeddings.astype(np.float32, copy=False)
        usable = np.isfinite(np.einsum("nd,nd->n", x, x)) & np.isfinite(probabilities.sum(axis=1))
        if not usable.all():
            self.n_unusable += int(usable.size - usable.sum())
            x, probabilities = x[usable], probabilities[usable]
        if len(x) == 0:
            return []
        starts = np.maximum(np.arange(-self.n_in_block, len(x), self._block), 0)
        sums = self._projection.sums(x, probabilities=probabilities, starts=starts)
        return self._close(sums, n_after=self.n_in_block + len(x))

    def _close(self, sums: PartSums, *, n_after: int) -> list[ChartReading]:
        """Join the open block, read all finished ones, keep the rest."""
        for whole, part in zip(_arrays(sums), _arrays(self._open), strict=True):
            whole[0] += part[0]
        n_done, self.n_in_block = divmod(n_after, self._block)
        if self.n_in_block:
            self._open = PartSums(*(a[n_done:].copy() for a in _arrays(sums)))
        else:
            self._open = self._empty()
        if n_done == 0:
            return []
        done = PartSums(*(a[:n_done] for a in _arrays(sums)))
        return self._read(self._projection.block_numbers(done, block=self._block))

    def _read(self, numbers: Float64Array) -> list[ChartReading]:
        path = np.empty_like(numbers)
        for i, b in enumerate(numbers):
            self._ewma += self._weight * (b - self._ewma)
            path[i] = self._ewma
        deviation = path - self._mean
        squares = (deviation @ self._whiten.T) ** 2
        statistics = np.sqrt(np.add.reduceat(squares, self._starts, axis=1))
        rising = (deviation[:, self._starts] > 0.0) | ~self._scalar
        first, far = self.n_blocks + 1, self._starts[CHARTS.index("novelty")]
        self.n_blocks += len(numbers)
        return [
            ChartReading(
                block=first + i,
                n_parts=(first + i) * self._block,
                statistics=tuple(statistics[i].tolist()),
                limits=self._limits,
                rising=tuple(rising[i].tolist()),
                expected_accuracy=float(path[i, -1]),
                far_share=float(path[i, far]) / self._block,
            )
            for i in range(len(numbers))
        ]

    @property
    def state_bytes(self) -> int:
        """What grows with nothing: the EWMA, the open block's sums and three counts of eight bytes."""
        return self._ewma.nbytes + sum(a.nbytes for a in _arrays(self._open)) + 3 * np.dtype(np.int64).itemsize

    def snapshot(self) -> dict[str, Any]:
        """All state as JSON values; exact."""
        return {
            "reference_sha256": self.reference.sha256,
            "ewma": self._ewma.tolist(),
            "smooth": self._open.smooth[0].tolist(),
            "far": int(self._open.far[0]),
            "mix": self._open.mix[0].tolist(),
            "n_blocks": self.n_blocks,
            "n_in_block": self.n_in_block,
            "n_unusable": self.n_unusable,
        }

    @classmethod
    def restored(cls, reference: ReferenceProfile, *, snapshot: Mapping[str, Any]) -> Charts:
        """Charts that go on where the snapshot was taken. Raises DataError for one of another reference."""
        if snapshot.get("reference_sha256") != reference.sha256:
            got = str(snapshot.get("reference_sha256"))[:12]
            raise DataError(
                f"drift charts: expected a snapshot of reference {reference.sha256[:12]}, got {got}; start afresh"
            )
        charts = cls(reference)
        charts._ewma = np.array(snapshot["ewma"], np.float64)
        charts._open = PartSums(
            smooth=np.array([snapshot["smooth"]], np.int32),
            far=np.array([snapshot["far"]], np.int32),
            mix=np.array([snapshot["mix"]], np.int32).reshape(1, -1),
        )
        charts.n_blocks, charts.n_in_block = snapshot["n_blocks"], snapshot["n_in_block"]
        charts.n_unusable = snapshot["n_unusable"]
        return charts

    def _empty(self) -> PartSums:
        L, M = self._projection.n_location, self._projection.n_mix
        return PartSums(np.zeros((1, L + 2), np.int32), np.zeros(1, np.int32), np.zeros((1, M), np.int32))


def _arrays(sums: PartSums) -> tuple[Int32Array, Int32Array, Int32Array]:
    return sums.smooth, sums.far, sums.mix
