"""Control limits: run lengths of EWMA charts by Markov chain, and tails of what a real line did."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError

Float64Array = npt.NDArray[np.float64]

SECONDS_PER_DAY = 86_400.0
N_STATES = 101  # of the chain for one dimension: 0.1 % of the run length
N_RADII, N_NODES = 60, 40  # of the chain for many dimensions: 1 % of the run length
PEAK_QUANTILE = 0.95
CONSERVATIVE_Z = 1.645  # one-sided 95 %
MAX_SECANT_STEPS = 60

_erf_of_one = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True, slots=True)
class FalseAlarmBudget:
    """How often a healthy camera may call somebody."""

    alarms: float = 1.0
    days: float = 30.0

    def parts_per_alarm(self, parts_per_second: float) -> float:
        """Parts a healthy camera decides between two false alarms. Raises ConfigError."""
        if min(self.alarms, self.days, parts_per_second) <= 0.0:
            got = f"{self.alarms} alarms in {self.days} days at {parts_per_second} parts/s"
            raise ConfigError(f"false alarm budget: expected three positive numbers, got {got}")
        return self.days * SECONDS_PER_DAY * parts_per_second / self.alarms


@dataclass(frozen=True, slots=True)
class Tail:
    """Peaks over threshold: where the tail of a recording leads."""

    limit: float
    n_peaks: int


def ewma_arl(limit: float, *, weight: float, dim: int = 1) -> float:
    """Mean run length of an in-control EWMA of independent N(0, I_dim), in samples.

    `limit` is a distance in standard deviations of the settled EWMA. Brook and Evans (1972) for one dimension;
    for more, the distance is itself a Markov chain (Runger and Prabhu, 1996).
    """
    half_width = limit * math.sqrt(weight / (2.0 - weight))
    stay, start = _line(half_width, weight) if dim == 1 else _radii(half_width, weight, dim)
    return float(np.linalg.solve(np.eye(len(stay)) - stay, np.ones(len(stay)))[start])


@lru_cache(maxsize=256)
def ewma_limit(arl: float, *, weight: float, dim: int = 1) -> float:
    """The distance that an in-control EWMA passes once in `arl` samples: the inverse of `ewma_arl`."""
    centre = math.sqrt(dim)
    return solve_increasing(
        lambda limit: math.log(ewma_arl(limit, weight=weight, dim=dim)), target=math.log(arl), low=centre + 1.0
    )


def solve_increasing(f: Callable[[float], float], *, target: float, low: float, tolerance: float = 1e-4) -> float:
    """x with f(x) = target for a smooth increasing f; secant from `low`."""
    a, b = low, low + 1.0
    fa, fb = f(a), f(b)
    for _ in range(MAX_SECANT_STEPS):
        if abs(b - a) < tolerance or fb == fa:
            break
        step = (target - fb) * (b - a) / (fb - fa)
        a, fa = b, fb
        b = max(b + min(max(step, -1.0), 1.0), 0.05)
        fb = f(b)
    return b


def tail_limit(statistic: Float64Array, *, gap: int, arl: float) -> Tail:
    """Level passed once in `arl` samples, from declustered peaks over a threshold (Pickands, 1975; SPOT, 2017).

    The tail is exponential in the squared distance, as it is for any nearly normal EWMA: in the distance itself it
    would be read too heavy, and every limit half as high again. The fitted scale is widened by
    (1 + 1.645 / sqrt(peaks)): it is an estimate, and the limit must not be one.
    """
    squared = statistic**2
    threshold = float(np.quantile(squared, PEAK_QUANTILE))
    peaks = _cluster_peaks(squared, threshold=threshold, gap=gap)
    if peaks.size == 0:
        return Tail(limit=math.sqrt(threshold), n_peaks=0)
    scale = float((peaks - threshold).mean()) * (1.0 + CONSERVATIVE_Z / math.sqrt(peaks.size))
    reach = max(0.0, math.log(peaks.size / statistic.size * arl))
    return Tail(limit=math.sqrt(threshold + scale * reach), n_peaks=int(peaks.size))


def _cluster_peaks(statistic: Float64Array, *, threshold: float, gap: int) -> Float64Array:
    """The highest value of each group of exceedances that are less than `gap` apart."""
    at = np.flatnonzero(statistic > threshold)
    if at.size == 0:
        return np.empty(0)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(at) >= gap) + 1])
    peaks: Float64Array = np.maximum.reduceat(statistic[at], starts)
    return peaks


def _line(half_width: float, weight: float) -> tuple[Float64Array, int]:
    """Transition probabilities between intervals of (-half_width, half_width), and the one at zero."""
    edges = np.linspace(-half_width, half_width, N_STATES + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    below = normal_cdf((edges[None, :] - (1.0 - weight) * middles[:, None]) / weight)
    return np.diff(below, axis=1), N_STATES // 2


def _radii(half_width: float, weight: float, dim: int) -> tuple[Float64Array, int]:
    """The same for the length of the EWMA: one step along it, the other dim - 1 steps across it."""
    edges = np.linspace(0.0, half_width, N_RADII + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    middles[0] = 0.0  # every chart starts at the mean
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    along = (1.0 - weight) * middles[:, None] + weight * nodes[None, :]
    left = (edges[None, None, :] ** 2 - along[:, :, None] ** 2) / weight**2
    below = np.einsum("rng,n->rg", chi2_cdf(left, dof=dim - 1), node_weights / node_weights.sum())
    return np.diff(below, axis=1), 0


def normal_cdf(x: Float64Array) -> Float64Array:
    """Standard normal distribution function."""
    return (1.0 + _erf(x / math.sqrt(2.0))) / 2.0


def chi2_cdf(x: Float64Array, *, dof: int) -> Float64Array:
    """Chi-square distribution function by the recursion over dof; 0 for negative x."""
    half = np.maximum(x, 0.0) / 2.0
    odd = dof % 2
    total: Float64Array = _erf(np.sqrt(half)) if odd else -np.expm1(-half)
    power, order = (0.5, math.gamma(1.5)) if odd else (1.0, 1.0)
    with np.errstate(divide="ignore"):
        log_half = np.log(half)
    for _ in range((dof - (1 if odd else 2)) // 2):
        total = total - np.exp(power * log_half - half) / order
        power += 1.0
        order *= power
    return np.maximum(total, 0.0)


def _erf(x: Float64Array) -> Float64Array:
    return np.asarray(_erf_of_one(x), np.float64)
