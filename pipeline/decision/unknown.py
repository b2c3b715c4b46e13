"""None of the known classes: two scores, each with its own budget of known parts it may be wrong about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import Float32Array

Score = Literal["novelty", "text_margin"]


@dataclass(frozen=True, slots=True)
class UnknownLimit:
    """Beyond `limit` a part counts as unknown: above it for novelty, below it for the text margin."""

    score: Score
    limit: float
    budget: float  # share of known parts that may be called unknown
    n: int  # held-out rows it was taken from
    expected_share: float  # of known parts beyond the limit, at most
    n_needed: int  # rows from which the budget can be kept

    @property
    def advisory(self) -> bool:
        """Too few rows for the budget: the limit is the most extreme known row, and worth a look, not a decision."""
        return self.n < self.n_needed


def text_margin(zero_shot: Float32Array) -> Float32Array:
    """(n, C) text logits -> (n,): best class text minus the mean of all texts, logit units; small is unknown.

    The limit of maximum concept matching (Ming et al., 2022) for a large softmax temperature. Unlike best minus
    next it stays high where two known classes look alike: that is doubt, and review is there for it.
    """
    out: Float32Array = zero_shot.max(axis=1) - zero_shot.mean(axis=1)
    return out


def unknown_limit(values: Float32Array, *, score: Score, budget: float) -> UnknownLimit:
    """The limit that at most `budget` of the known parts lie beyond, from out-of-fold values (n,) of known rows.

    The ceil((n + 1)(1 - budget))-th most ordinary value: over draws of rows and parts the expected share beyond it is
    at most the budget, whatever the distribution (split conformal; Papadopoulos et al., 2002). Below 1/budget - 1
    rows there is no such value, and the most extreme row serves, marked advisory. Raises ConfigError.
    """
    if not 0.0 < budget < 1.0:
        raise ConfigError(f"unknown budget: expected a share between 0 and 1, got {budget}")
    n = int(values.size)
    needed = math.ceil(1.0 / budget - 1.0 - 1e-9)
    if not n:
        return UnknownLimit(score, math.inf if score == "novelty" else -math.inf, budget, 0, 0.0, needed)
    rank = min(math.ceil((n + 1) * (1.0 - budget) - 1e-9), n)
    ordinary_first = np.sort(values) if score == "novelty" else np.sort(values)[::-1]
    return UnknownLimit(score, float(ordinary_first[rank - 1]), budget, n, (n + 1 - rank) / (n + 1), needed)
