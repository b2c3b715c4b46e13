"""Limits equal the textbook's, and hold in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.drift.limits import FalseAlarmBudget, chi2_cdf, ewma_arl, ewma_limit, tail_limit
from pipeline.errors import ConfigError


@pytest.mark.parametrize(("arl", "limit"), [(370, 2.702), (1_000, 3.06), (10_000, 3.75), (78_125, 4.267)])
def test_ewma_limits_of_weight_a_tenth_equal_the_textbook(arl: float, limit: float) -> None:
    assert ewma_limit(float(arl), weight=0.1) == pytest.approx(limit, rel=2e-3)


@pytest.mark.parametrize(("dim", "squared"), [(2, 8.64), (4, 12.73), (10, 22.67)])
def test_multivariate_limits_of_run_length_200_equal_the_published_table(dim: int, squared: float) -> None:
    assert ewma_limit(200.0, weight=0.1, dim=dim) ** 2 == pytest.approx(squared, rel=3e-3)


def test_the_multivariate_run_length_is_what_a_simulation_gives() -> None:
    limit, rng = ewma_limit(500.0, weight=0.1, dim=32), np.random.default_rng(0)
    e, alive, lengths = np.zeros((1_000, 32)), np.ones(1_000, bool), np.zeros(1_000)
    while alive.any():
        e[alive] = 0.9 * e[alive] + 0.1 * rng.standard_normal((int(alive.sum()), 32))
        lengths[alive] += 1
        alive &= (e**2).sum(axis=1) * 1.9 / 0.1 <= limit**2
    assert lengths.mean() == pytest.approx(500, rel=0.1)  # three standard errors


def test_run_length_grows_with_the_limit() -> None:
    arls = [ewma_arl(limit, weight=0.02, dim=7) for limit in (3.5, 4.5, 5.5)]
    assert arls == sorted(arls)


@pytest.mark.parametrize(
    ("dof", "x", "share"), [(1, 3.841, 0.95), (2, 5.991, 0.95), (7, 14.067, 0.95), (31, 44.985, 0.95)]
)
def test_chi_square_has_its_textbook_quantiles(dof: int, x: float, share: float) -> None:
    assert chi2_cdf(np.array([x]), dof=dof)[0] == pytest.approx(share, abs=1e-4)


def test_a_tail_limit_of_normal_distances_is_at_or_above_the_level_really_passed_once() -> None:
    rng = np.random.default_rng(1)
    tail = tail_limit(np.abs(rng.standard_normal(5_000)), gap=10, arl=100_000.0)
    assert 4.27 < tail.limit < 6.0  # 1 in 100,000 passes 4.42
    assert tail.n_peaks > 100


def test_fewer_peaks_make_a_wider_limit() -> None:
    statistic = np.abs(np.random.default_rng(2).standard_normal(20_000))
    assert tail_limit(statistic[:500], gap=40, arl=1e5).limit > tail_limit(statistic, gap=40, arl=1e5).limit


def test_one_alarm_in_thirty_days_at_two_parts_a_second_is_5_million_parts() -> None:
    assert FalseAlarmBudget(alarms=1, days=30).parts_per_alarm(2.0) == 5_184_000


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected three positive numbers, got 0 alarms"):
        FalseAlarmBudget(alarms=0).parts_per_alarm(1.0)
