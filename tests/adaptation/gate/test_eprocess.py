"""The evidence grows when it should, and hardly ever when it should not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.adaptation.gate.eprocess import LAMBDAS, MixtureEProcess, log_e_accuracy
from pipeline.adaptation.gate.escapes import EscapeSequence
from pipeline.errors import DataError
from tests.adaptation.gate.trials import crossing


def test_the_process_is_the_mean_of_the_products() -> None:
    outcomes = [1.0, -0.1, 0.0, -1.0, 0.9]
    process = MixtureEProcess()
    for z in outcomes:
        process = process.bet(z)
    expected = np.mean([np.prod([1 + lam * z for z in outcomes]) for lam in LAMBDAS])
    assert process.log_e == pytest.approx(math.log(expected))
    assert process.n == 5


def test_nothing_is_known_before_the_first_outcome() -> None:
    assert MixtureEProcess().log_e == pytest.approx(0.0)


@pytest.mark.parametrize("z", [-1.0001, math.nan, math.inf])
def test_an_outcome_that_could_cost_more_than_all_is_refused(z: float) -> None:
    with pytest.raises(DataError, match="at least -1"):
        MixtureEProcess().bet(z)


@pytest.mark.parametrize("run", [1, 20])
def test_equal_heads_are_promoted_at_most_alpha_of_the_time_with_a_look_after_every_label(run: int) -> None:
    """T15 at CI size; 20 is a line that makes 20 parts of a kind in a row, labels drawn in random order."""
    rng, repetitions = np.random.default_rng(run), 1000
    pool = np.repeat(rng.choice([-1.0, 1.0], size=4000 // run), run)
    pool = np.concatenate([pool, -pool])
    crossed = sum(crossing(rng.choice(pool, 300, replace=False), alpha=0.05) is not None for _ in range(repetitions))
    assert crossed / repetitions <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repetitions)


def test_a_head_that_wins_three_of_four_is_seen_within_a_hundred_labels() -> None:
    rng = np.random.default_rng(0)
    needed = [crossing(rng.choice([-1.0, 1.0], size=300, p=[0.25, 0.75]), alpha=0.05) for _ in range(50)]
    assert np.median([n or 999 for n in needed]) < 40


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (3, 1), (1, 3), (12, 2), (150, 130)])
def test_the_accuracy_evidence_is_the_integral_it_stands_for(wins: int, losses: int) -> None:
    """Likelihood ratio against one half, averaged over a uniform prior on rates above one half."""
    rates = 0.5 + (np.arange(200_000) + 0.5) / 400_000
    n = wins + losses
    logs = wins * np.log(rates) + losses * np.log1p(-rates) + n * math.log(2)
    assert math.exp(log_e_accuracy(wins=wins, losses=losses)) == pytest.approx(np.exp(logs).mean(), rel=1e-4)


def test_without_escapes_the_bound_falls_to_the_limit_after_3_6_over_the_limit_frames() -> None:
    escapes = EscapeSequence(floor=1.0)
    assert escapes.upper_bound(alpha=0.05, n_silent=3500) > 0.001
    assert escapes.upper_bound(alpha=0.05, n_silent=3600) <= 0.001


def test_one_introduced_escape_lifts_the_bound_and_one_removed_lowers_it() -> None:
    plain, worse, better = (EscapeSequence(floor=1.0) for _ in range(3))
    worse.introduced(inclusion=1.0)
    better.removed(inclusion=1.0)
    bounds = [one.upper_bound(alpha=0.05, n_silent=3000) for one in (better, plain, worse)]
    assert bounds == sorted(bounds)
    assert bounds[2] > 1.5 * bounds[1]


def test_the_bound_holds_at_every_look_with_weighted_sampling() -> None:
    rng, alpha, share = np.random.default_rng(1), 0.05, 0.01
    missed = 0
    for _ in range(300):
        escapes, hit = EscapeSequence(floor=0.5), False
        for _ in range(10):
            found = rng.binomial(rng.binomial(200, share), 0.5)
            for _ in range(found):
                escapes.introduced(inclusion=0.5)
            escapes.still(200 - found)
            hit |= escapes.upper_bound(alpha=alpha, n_silent=0) < share
        missed += hit
    assert missed / 300 <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / 300)


def test_nothing_known_bounds_nothing() -> None:
    assert EscapeSequence(floor=1.0).upper_bound(alpha=0.05, n_silent=0) == pytest.approx(1.0)
