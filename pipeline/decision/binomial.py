"""Exact bounds on a share that was only sampled: how few wrong of how many says how much."""

from __future__ import annotations

import math
from collections.abc import Callable

N_FRACTIONS = 300  # of the continued fraction; 1e-14 is reached after tens, hundreds only near n = 1e5
N_HALVINGS = 40  # of [0, 1]: to 1e-12
TINY = 1e-300


def at_most(k: float, *, n: float, share: float) -> float:
    """P(X <= k) for X ~ Binomial(n, share); k and n need not be whole (weighted rows have an effective size)."""
    if k >= n or share <= 0.0:
        return 1.0
    if k < 0 or share >= 1.0:
        return 0.0
    return 1.0 - _incomplete_beta(share, a=k + 1.0, b=n - k)


def upper_bound(k: float, *, n: float, confidence: float) -> float:
    """One-sided upper limit of a share of which k in n were seen (Clopper & Pearson, 1934); 1 where n is 0."""
    if k >= n:
        return 1.0
    if k <= 0:  # the usual case, and closed
        return -math.expm1(math.log(1.0 - confidence) / n)
    return _crossing(lambda share: at_most(k, n=n, share=share) > 1.0 - confidence)


def lower_bound(k: float, *, n: float, confidence: float) -> float:
    """One-sided lower limit of a share of which k in n were seen; 0 where k is 0."""
    return 1.0 - upper_bound(n - k, n=n, confidence=confidence) if k > 0 and n > 0 else 0.0


def clean_needed(share: float, *, confidence: float) -> int:
    """Fewest rows without a single hit that put the share at or below `share`: 598 for 0.5 % at 95 %."""
    if share >= 1.0:
        return 0
    return max(1, math.ceil(math.log(1.0 - confidence) / math.log1p(-share) - 1e-9))


def _crossing(above: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if above(middle) else (low, middle)
    return high


def _incomplete_beta(x: float, *, a: float, b: float) -> float:
    """I_x(a, b), by the continued fraction that converges on this side of the mean."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - front * _fraction(1.0 - x, a=b, b=a) / b
    return front * _fraction(x, a=a, b=b) / a


def _fraction(x: float, *, a: float, b: float) -> float:
    """Modified Lentz evaluation (Thompson & Barnett, 1986) of 1/(1+ d1/(1+ d2/(1+ ...)))."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, N_FRACTIONS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > TINY else TINY
