"""Quality charts for the factory: Laney's p', tabular CUSUM, and exact bounds on a share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.limits import normal_cdf
from pipeline.errors import DataError

Float64Array = npt.NDArray[np.float64]

SIGMAS = 3.0
D2_OF_TWO = 2 / math.sqrt(math.pi)  # mean range of two standard normal values: 1.128
N_STATES = 200  # of the CUSUM's chain
MAX_HALVINGS = 200
SIEGMUND_SHIFT = 1.166  # twice the mean overshoot of a normal walk


@dataclass(frozen=True, slots=True)
class LaneyLimits:
    """Limits of the share of rejects per lot or hour."""

    centre: float
    sigma_z: float  # 1 where lots differ by chance only; above, real lots do
    low: Float64Array  # (n,) per subgroup
    high: Float64Array


def laney_limits(rejects: npt.ArrayLike, *, inspected: npt.ArrayLike) -> LaneyLimits:
    """Laney's p' chart (2002): binomial limits times the lots' own variation, sigma_z = mean |z_i - z_(i-1)| / 1.128.

    Raises DataError below two subgroups, or where one is empty.
    """
    k, n = np.asarray(rejects, np.float64), np.asarray(inspected, np.float64)
    if k.shape != n.shape or k.size < 2 or (n <= 0).any() or (k > n).any() or (k < 0).any():
        raise DataError(f"p' chart: expected at least 2 subgroups with 0 <= rejects <= inspected, got {k} of {n}")
    centre = float(k.sum() / n.sum())
    sd = np.sqrt(centre * (1.0 - centre) / n)
    z = np.divide(k / n - centre, sd, out=np.zeros_like(sd), where=sd > 0)
    sigma_z = float(np.abs(np.diff(z)).mean()) / D2_OF_TWO
    half = SIGMAS * sd * sigma_z
    return LaneyLimits(centre, sigma_z, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0))


@dataclass(frozen=True, slots=True)
class Cusum:
    """Two-sided tabular CUSUM (Page, 1954) in standard deviations; `after` returns the next one."""

    allowance: float = 0.5  # k: half the shift to be found
    limit: float = 5.0  # h
    above: float = 0.0
    below: float = 0.0

    def after(self, z: float) -> Cusum:
        """One standardised observation later."""
        above = max(0.0, self.above + z - self.allowance)
        return replace(self, above=above, below=max(0.0, self.below - z - self.allowance))

    @property
    def signals(self) -> bool:
        """The mean has moved."""
        return max(self.above, self.below) > self.limit


def cusum_arl(limit: float, *, allowance: float = 0.5, shift: float = 0.0) -> float:
    """Mean run length of the two-sided CUSUM of N(shift, 1): 168 at h = 4, 465 at h = 5 (Brook and Evans, 1972)."""
    up = _one_sided_arl(limit, drift=shift - allowance)
    down = _one_sided_arl(limit, drift=-shift - allowance)
    return 1.0 / (1.0 / up + 1.0 / down)


def _one_sided_arl(limit: float, *, drift: float) -> float:
    width = 2.0 * limit / (2 * N_STATES - 1)  # state 0 is half as wide: it stands for zero itself
    middles = width * np.arange(N_STATES)
    edges = middles + width / 2.0
    below = normal_cdf(edges[None, :] - middles[:, None] - drift)
    stay = np.diff(below, axis=1, prepend=0.0)
    return float(np.linalg.solve(np.eye(N_STATES) - stay, np.ones(N_STATES))[0])


def cusum_arl_siegmund(limit: float, *, drift: float) -> float:
    """One-sided run length by Siegmund's formula (1985): a check within a few percent, for any limit at no cost."""
    b = limit + SIEGMUND_SHIFT
    if drift == 0.0:
        return b * b
    return (math.exp(-2.0 * drift * b) + 2.0 * drift * b - 1.0) / (2.0 * drift * drift)


@dataclass(frozen=True, slots=True)
class ShareBounds:
    """A share seen in a sample, with what it may be."""

    point: float  # nan for an empty sample
    low: float
    high: float


def clopper_pearson(count: int, *, n: int, confidence: float = 0.95) -> ShareBounds:
    """Two-sided exact bounds (Clopper and Pearson, 1934). Raises DataError unless 0 <= count <= n."""
    miss = (1.0 - confidence) / 2.0
    high = share_upper(count, n=n, miss=miss)
    return ShareBounds(count / n if n else math.nan, 1.0 - share_upper(n - count, n=n, miss=miss), high)


def share_upper(count: int, *, n: int, miss: float = 0.05) -> float:
    """One-sided exact upper bound: the share at which so few would be seen with probability `miss`."""
    if not 0 <= count <= n:
        raise DataError(f"share bound: expected 0 <= count <= n, got {count} of {n}")
    if count == n:
        return 1.0
    low, high = count / n, 1.0
    log_ways = _log_ways(count, n)
    for _ in range(MAX_HALVINGS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (middle, high) if _binomial_cdf(log_ways, n, middle) > miss else (low, middle)
    return high


def clean_sample(share: float, *, found: int = 0, miss: float = 0.05) -> int:
    """Fewest parts with `found` bad ones that prove the share to be at most so large: 598 clean ones for 0.5 %."""
    low, high = found, found + 1
    while share_upper(found, n=high, miss=miss) > share:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share_upper(found, n=middle, miss=miss) > share else (low, middle)
    return high


def _log_ways(count: int, n: int) -> Float64Array:
    """log of n over i for i = 0..count."""
    i = np.arange(1, count + 1)
    return np.concatenate([[0.0], np.cumsum(np.log((n - i + 1) / i))])


def _binomial_cdf(log_ways: Float64Array, n: int, share: float) -> float:
    i = np.arange(log_ways.size)
    return float(np.exp(log_ways + i * math.log(share) + (n - i) * math.log1p(-share)).sum())
