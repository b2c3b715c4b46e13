"""The interval for the saving holds the truth at every look, and narrows until one head wins."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.gate.ab import ComparisonReport, HeadComparison
from pipeline.adaptation.gate.values import LabelledPart, LabelStream
from pipeline.errors import DataError
from tests.adaptation.gate.cases import COSTS

OK, DENT = 0, 1


def stream(rng: np.random.Generator, *, n: int, flips: float, second_right: float) -> list[ComparisonReport]:
    """Reports every 200 frames; on a flip the part is a defect and one of the heads lets it pass."""
    comparison, reports = HeadComparison(COSTS), []
    for i in range(n):
        if rng.random() < flips:
            second = DENT if rng.random() < second_right else OK
            comparison.add(
                LabelledPart(str(i), DENT, "ann", LabelStream.GATE, champion=DENT + OK - second, challenger=second)
            )
        else:
            comparison.agreed(1)
        if i % 200 == 199:
            reports.append(comparison.report())
    return reports


def test_equal_heads_are_told_apart_at_most_alpha_of_the_time() -> None:
    rng = np.random.default_rng(0)
    runs = [stream(rng, n=2000, flips=0.05, second_right=0.5) for _ in range(60)]
    wrong = sum(any(one.verdict != "undecided" for one in run) for run in runs)
    assert wrong / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_the_better_head_is_found_and_the_interval_holds_its_saving() -> None:
    """5 % flips, 9 of 10 won at 10 apiece: 400 per 1000 parts."""
    reports = stream(np.random.default_rng(1), n=6000, flips=0.05, second_right=0.9)
    assert reports[-1].verdict == "second costs less"
    assert all(one.saved_low <= 400.0 <= one.saved_high for one in reports)
    assert reports[-1].saved == pytest.approx(400.0, abs=80.0)


def test_nothing_seen_is_undecided_over_the_whole_range() -> None:
    report = HeadComparison(COSTS).report()
    assert (report.saved_low, report.saved_high, report.verdict) == (-10_000.0, 10_000.0, "undecided")


def test_an_undeclared_inclusion_probability_is_refused() -> None:
    part = LabelledPart("1", DENT, "ann", LabelStream.GATE, champion=OK, challenger=DENT, inclusion=0.1)
    with pytest.raises(DataError, match="declare the sampler"):
        HeadComparison(COSTS, inclusion_floor=0.5).add(part)
