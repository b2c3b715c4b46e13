"""Factory charts against textbook constants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.adaptation.drift.spc import (
    Cusum,
    clean_sample,
    clopper_pearson,
    cusum_arl,
    cusum_arl_siegmund,
    laney_limits,
    share_upper,
)
from pipeline.errors import DataError


@pytest.mark.parametrize(("limit", "arl"), [(4.0, 168), (5.0, 465)])
def test_two_sided_cusum_has_its_textbook_run_length(limit: float, arl: float) -> None:
    assert cusum_arl(limit) == pytest.approx(arl, rel=4e-3)


def test_siegmunds_formula_agrees_with_the_chain() -> None:
    assert cusum_arl_siegmund(5.0, drift=-0.5) / 2 == pytest.approx(cusum_arl(5.0), rel=0.02)
    assert cusum_arl_siegmund(4.0, drift=0.0) == pytest.approx(5.166**2)


def test_a_cusum_signals_a_shift_of_one_deviation_and_forgets_nothing_of_it() -> None:
    chart = Cusum(limit=4.0)
    n = 0
    while not chart.signals:
        chart, n = chart.after(1.0), n + 1
    assert n == 9
    assert chart.below == 0.0


@pytest.mark.parametrize(
    ("share", "found", "n"),
    [
        (0.001, 0, 2995),
        (0.005, 0, 598),
        (0.005, 1, 947),
        (0.005, 2, 1258),
        (0.005, 3, 1549),
        (0.01, 0, 299),
        (0.02, 3, 386),
    ],
)
def test_parts_needed_to_prove_a_share_equal_the_table(share: float, found: int, n: int) -> None:
    assert clean_sample(share, found=found) == n


@pytest.mark.parametrize(("count", "n"), [(0, 50), (3, 598), (50, 50), (499, 1_000)])
def test_clopper_pearson_equals_the_beta_quantiles(count: int, n: int) -> None:
    bounds = clopper_pearson(count, n=n)
    low = 0.0 if count == 0 else stats.beta.ppf(0.025, count, n - count + 1)
    high = 1.0 if count == n else stats.beta.ppf(0.975, count + 1, n - count)
    assert (bounds.low, bounds.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_an_empty_sample_proves_nothing() -> None:
    bounds = clopper_pearson(0, n=0)
    assert (bounds.low, bounds.high) == (0.0, 1.0)
    assert math.isnan(bounds.point)


def test_more_errors_than_parts_are_refused() -> None:
    with pytest.raises(DataError, match="expected 0 <= count <= n, got 3 of 2"):
        share_upper(3, n=2)


def test_laneys_limits_are_the_binomial_ones_times_the_lots_own_variation() -> None:
    rejects, inspected = np.array([20, 40, 20, 40]), np.full(4, 1_000)
    limits = laney_limits(rejects, inspected=inspected)
    sd = math.sqrt(0.03 * 0.97 / 1_000)
    sigma_z = (0.02 / sd) / 1.128379  # every step is 2 points
    assert limits.centre == pytest.approx(0.03)
    assert limits.sigma_z == pytest.approx(sigma_z, rel=1e-6)
    assert limits.high[0] == pytest.approx(0.03 + 3 * sd * sigma_z)
    assert limits.low[0] == 0.0


def test_lots_that_differ_by_chance_only_have_a_sigma_z_of_one() -> None:
    n = np.full(2_000, 500)
    assert laney_limits(np.random.default_rng(0).binomial(n, 0.05), inspected=n).sigma_z == pytest.approx(1.0, abs=0.05)


def test_an_empty_lot_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 subgroups"):
        laney_limits([1, 0], inspected=[10, 0])
