"""Evidence that may be looked at after every label: mixtures of bets, and the accuracy e-value of the report.

A bettor who starts with 1 and stakes on "the mean is above zero" can hardly grow rich when it is not: the chance of
ever holding 1/alpha is at most alpha (Ville 1939), whenever one looks and whenever one stops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.errors import DataError

LAMBDAS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # share of the wealth at stake: small ones for small gains over many labels


def log_mean_exp(values: tuple[float, ...], *, weights: tuple[float, ...]) -> float:
    """log(sum_k weights_k exp(values_k)); weights sum to 1, values may be -inf."""
    top = max(values)
    if top == -math.inf:
        return -math.inf
    return top + math.log(sum(weight * math.exp(value - top) for weight, value in zip(weights, values, strict=True)))


def log_factor(stake: float) -> float:
    """log(1 + stake), -inf where everything is lost."""
    return math.log1p(stake) if stake > -1.0 else -math.inf


@dataclass(frozen=True, slots=True)
class MixtureEProcess:
    """E_n = mean over lambda of prod_i (1 + lambda z_i), for H0: E[z_i | past] <= 0 and z_i >= -1."""

    log_wealth: tuple[float, ...] = (0.0,) * len(LAMBDAS)  # one per lambda
    n: int = 0

    def bet(self, z: float) -> MixtureEProcess:
        """The process after one more outcome. Raises DataError below -1 or for what is no number."""
        if not (z >= -1.0 and math.isfinite(z)):
            raise DataError(f"e-process: expected an outcome of at least -1, got {z}; scale it by the largest loss")
        wealth = tuple(old + math.log1p(lam * z) for old, lam in zip(self.log_wealth, LAMBDAS, strict=True))
        return MixtureEProcess(wealth, self.n + 1)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the evidence; 0 before the first outcome."""
        return log_mean_exp(self.log_wealth, weights=(1.0 / len(LAMBDAS),) * len(LAMBDAS))


def log_e_accuracy(*, wins: int, losses: int) -> float:
    """Beta-binomial e-value on who is right where just one head is; for the report, it decides nothing.

    E = 2^(n+1) B(b+1, c+1) (1 - I_0.5(b+1, c+1)) with b wins, c losses, n = b + c. The incomplete beta function of
    whole numbers is a binomial sum, so E = sum_{k<=b} C(n+1, k) / ((n+1) C(n, b)) in exact integers.
    """
    n = wins + losses
    total, term = 0, 1
    for k in range(wins + 1):
        total += term
        term = term * (n + 1 - k) // (k + 1)
    return math.log(total) - math.log((n + 1) * math.comb(n, wins))
