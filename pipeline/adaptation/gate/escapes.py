"""How many more defects a new head lets pass: an upper bound that holds at every look."""

from __future__ import annotations

import math
from collections import Counter

from pipeline.adaptation.gate.eprocess import LAMBDAS, log_factor, log_mean_exp

# Half of the wealth bets that no escape is introduced at all: with none, 3.6 / limit frames are enough, against
# 3.0 / limit for a single look (the rule of three). The other half forgives some.
_STAKES = (1.0, *LAMBDAS)
_WEIGHTS = (0.5, *((0.5 / len(LAMBDAS),) * len(LAMBDAS)))
_HALVINGS = 40


class EscapeSequence:
    """Confidence sequence for the net share of frames on which only the new head lets a defect pass.

    Per frame y = +1/pi where a labelled move to accept is a defect, -1/pi where a labelled move away from accept is
    one, else 0 (agreements, disagreements not drawn): its mean is the net share whatever the inclusion probability pi.
    Betting on "mean >= b" for every b and inverting: Waudby-Smith & Ramdas (2023), section 4.
    """

    def __init__(self, *, floor: float) -> None:
        self._floor = floor  # smallest inclusion probability of moves to accept, declared before sampling
        self._n_still = 0
        self._moves: Counter[float] = Counter()  # y -> frames

    def still(self, n: int) -> None:
        """`n` labelled frames that are no change in escapes."""
        self._n_still += n

    def introduced(self, *, inclusion: float) -> None:
        """A labelled defect that only the new head accepts."""
        self._moves[1.0 / inclusion] += 1

    def removed(self, *, inclusion: float) -> None:
        """A labelled defect that only the old head accepts."""
        self._moves[-1.0 / inclusion] += 1

    def log_e_below(self, limit: float, *, n_silent: int) -> float:
        """Evidence against "the net share is `limit` or more", limit in (0, 1); `n_silent` frames needed no label."""
        full = 1.0 / (1.0 - self._floor * limit)
        wealth = []
        for stake in _STAKES:
            value = (self._n_still + n_silent) * math.log1p(stake * full * self._floor * limit)
            for y, n in self._moves.items():
                value += n * log_factor(stake * full * self._floor * (limit - y))
            wealth.append(value)
        return log_mean_exp(tuple(wealth), weights=_WEIGHTS)

    def upper_bound(self, *, alpha: float, n_silent: int) -> float:
        """Smallest share that is refuted at level alpha, whenever one looks; 1 while nothing is known."""
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if self.log_e_below(middle, n_silent=n_silent) >= -math.log(alpha):
                high = middle
            else:
                low = middle
        return high
