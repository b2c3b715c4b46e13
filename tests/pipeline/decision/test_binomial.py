"""Bounds on a share agree with the published tables and with plain sums."""

from __future__ import annotations

import math

import pytest

from pipeline.decision.binomial import at_most, clean_needed, lower_bound, upper_bound

# Smallest n whose 95 % upper bound is at or below the share, with 0, 1, 2, 3 hits (attribute acceptance tables).
TABLE = {0.001: (2995, 4742, 6294, 7752), 0.005: (598, 947, 1258, 1549), 0.02: (149, 236, 313, 386)}


@pytest.mark.parametrize(("share", "rows"), TABLE.items())
def test_the_upper_bound_meets_the_acceptance_tables_exactly(share: float, rows: tuple[int, ...]) -> None:
    for hits, n in enumerate(rows):
        assert upper_bound(hits, n=n, confidence=0.95) <= share < upper_bound(hits, n=n - 1, confidence=0.95)
    assert clean_needed(share, confidence=0.95) == rows[0]


@pytest.mark.parametrize(("n", "share"), [(1, 0.3), (12, 0.5), (50, 0.02), (200, 0.9)])
def test_the_tail_is_the_sum_of_its_terms(n: int, share: float) -> None:
    total = 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * share**k * (1 - share) ** (n - k)
        assert at_most(k, n=n, share=share) == pytest.approx(min(total, 1.0), abs=1e-12)


def test_lower_and_upper_bound_mirror_each_other() -> None:
    assert lower_bound(3, n=10, confidence=0.9) == pytest.approx(1 - upper_bound(7, n=10, confidence=0.9), abs=1e-12)
    assert (lower_bound(0, n=10, confidence=0.9), upper_bound(10, n=10, confidence=0.9)) == (0.0, 1.0)
    assert (lower_bound(0, n=0, confidence=0.9), upper_bound(0, n=0, confidence=0.9)) == (0.0, 1.0)


def test_weighted_rows_may_be_counted_in_fractions() -> None:
    between = at_most(2.5, n=40.5, share=0.1)
    assert at_most(2, n=40.5, share=0.1) < between < at_most(3, n=40.5, share=0.1)
