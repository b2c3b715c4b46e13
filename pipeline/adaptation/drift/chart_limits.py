"""One chart's numbers: centre, whitening of its EWMA, and the limit from both theory and what the line did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.adaptation.drift.blocks import Float64Array
from pipeline.adaptation.drift.limits import ewma_limit, tail_limit

WARM_UP_MEMORIES = 3.0  # of an EWMA before it is believed settled
N_FOLDS = 5  # contiguous
SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ChartSpec:
    """An EWMA chart: statistic = length of whiten @ (ewma - mean), compared with limit."""

    name: str
    weight: float
    mean: Float64Array  # (d,)
    whiten: Float64Array  # (d, d)
    limit: float  # the larger of the next two
    limit_gauss: float  # for independent blocks: normal, or with the skew of the chart's one number
    limit_tail: float  # from the peaks of the recording itself
    n_peaks: int
    arl_blocks: float  # blocks between false alarms that the limit was made for
    advisory: bool = True

    def statistics(self, ewma: Float64Array) -> Float64Array:
        """(..., d) -> (...,)."""
        out: Float64Array = np.linalg.norm((ewma - self.mean) @ self.whiten.T, axis=-1)
        return out


def fit_chart(
    numbers: Float64Array, *, name: str, weight: float, arl_blocks: float, independent_sd: float
) -> ChartSpec:
    """`numbers` (blocks, d) of a recording in order.

    Centre and whitening come from all of it, the tail from each fifth judged by the other four: so every block is
    judged by what it had no part in, and every block serves the tail, not a last share of them.
    """
    settled = min(int(WARM_UP_MEMORIES / weight), len(numbers) // 4)
    ewma = smoothed(numbers, weight=weight, start=numbers.mean(axis=0))[settled:]
    numbers = numbers[settled:]
    unit = independent_sd * float(np.sqrt(weight / (2.0 - weight)))
    distance = np.empty(len(numbers))
    for held in np.array_split(np.arange(len(numbers)), N_FOLDS):
        kept = np.delete(np.arange(len(numbers)), held)
        mean, whiten = _centre(numbers[kept], ewma[kept], unit=unit, weight=weight)
        distance[held] = np.linalg.norm((ewma[held] - mean) @ whiten.T, axis=1)
    mean, whiten = _centre(numbers, ewma, unit=unit, weight=weight)
    gauss = ewma_limit(arl_blocks, weight=weight, dim=numbers.shape[1])
    if numbers.shape[1] == 1:
        gauss += _skew_widening(numbers[:, 0], weight=weight, limit=gauss)
    tail = tail_limit(distance, gap=round(1.0 / weight), arl=arl_blocks)
    return ChartSpec(
        name=name,
        weight=weight,
        mean=mean,
        whiten=whiten,
        limit=max(gauss, tail.limit),
        limit_gauss=gauss,
        limit_tail=tail.limit,
        n_peaks=tail.n_peaks,
        arl_blocks=arl_blocks,
    )


def smoothed(numbers: Float64Array, *, weight: float, start: Float64Array) -> Float64Array:
    """e_t = (1 - weight) e_(t-1) + weight b_t along the first axis."""
    out = np.empty_like(numbers)
    e = start
    for i, b in enumerate(numbers):
        e = e + weight * (b - e)
        out[i] = e
    return out


def _centre(
    numbers: Float64Array, ewma: Float64Array, *, unit: float, weight: float
) -> tuple[Float64Array, Float64Array]:
    """Mean, and inverse square root of the EWMA's covariance, never below that of independent parts (`unit`).

    Wander is so forgiven in its own directions. Widened by 1 / memories, because the mean is itself estimated.
    """
    mean = numbers.mean(axis=0)
    deviation = (ewma - mean) / unit
    values, vectors = np.linalg.eigh(deviation.T @ deviation / len(deviation))
    n_memories = len(numbers) * weight / (2.0 - weight)
    spread = np.sqrt(np.maximum(values, 1.0) * (1.0 + 1.0 / n_memories))
    return mean, (vectors / spread).T / unit


def _skew_widening(numbers: Float64Array, *, weight: float, limit: float) -> float:
    """How much farther out a skewed EWMA has the same tail: skew / 6 (L^2 - 1) (Cornish and Fisher, 1938).

    The third moment of an EWMA is weight^3 / (1 - (1 - weight)^3) of a sample's.
    """
    z = numbers - numbers.mean()
    skew = abs(float((z**3).mean())) / max(float((z**2).mean()), SMALLEST) ** 1.5
    smoothing = weight**3 / (1.0 - (1.0 - weight) ** 3) / (weight / (2.0 - weight)) ** 1.5
    return float(skew * smoothing * (limit**2 - 1.0) / 6.0)
