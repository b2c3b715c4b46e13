"""Each score has its own budget of known parts, and says when there were too few to keep it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.decision import text_margin, unknown_limit
from pipeline.errors import ConfigError


def test_the_text_margin_is_small_where_no_class_text_fits_and_large_for_look_alikes() -> None:
    nothing, twins = [20.0, 20.0, 20.0, 20.0], [30.0, 30.0, 20.0, 20.0]
    assert text_margin(np.array([nothing, twins], np.float32)).tolist() == [0.0, 5.0]


def test_novelty_is_limited_from_above_and_the_text_margin_from_below() -> None:
    values = np.arange(1, 200, dtype=np.float32)
    assert unknown_limit(values, score="novelty", budget=0.01).limit == 198.0
    assert unknown_limit(values, score="text_margin", budget=0.01).limit == 2.0


@pytest.mark.parametrize(("budget", "n"), [(0.005, 199), (0.005, 500), (0.02, 49), (0.02, 137)])
def test_over_many_draws_known_parts_are_called_unknown_within_the_budget(budget: float, n: int) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2000):
        one = unknown_limit(rng.exponential(size=n).astype(np.float32), score="novelty", budget=budget)
        shares.append(math.exp(-one.limit))  # of an exponential beyond the limit
        assert not one.advisory
        assert one.expected_share <= budget + 1e-12
    assert np.mean(shares) == pytest.approx(one.expected_share, abs=4 * np.std(shares) / math.sqrt(2000))


def test_too_few_rows_make_a_limit_advisory_at_the_most_extreme_row() -> None:
    one = unknown_limit(np.array([0.3, 0.9, 0.5], np.float32), score="novelty", budget=0.005)
    assert one.advisory
    assert (one.limit, one.n, one.n_needed) == (pytest.approx(0.9), 3, 199)
    assert one.expected_share == pytest.approx(1 / 4)


def test_without_rows_nothing_is_ever_unknown() -> None:
    empty = np.zeros(0, np.float32)
    assert unknown_limit(empty, score="novelty", budget=0.01).limit == math.inf
    assert unknown_limit(empty, score="text_margin", budget=0.01).limit == -math.inf


def test_a_budget_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a share between 0 and 1, got 0"):
        unknown_limit(np.ones(3, np.float32), score="novelty", budget=0.0)
