"""Audit charts: harm, with the error rate they state, and no silence taken for health."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.adaptation.drift.effect import AccuracyOutlook, AuditChart, AuditReading
from pipeline.adaptation.drift.spc import ShareBounds
from pipeline.errors import ConfigError

PROMISED = 0.006


def escapes(*, alpha: float = 1e-4) -> AuditChart:
    return AuditChart("escape", target_share=0.005, tolerance=0.001, alpha=alpha)


def labels_to_alarm(share: float, *, seed: int, most: int, alpha: float = 1e-4) -> float:
    chart = escapes(alpha=alpha)
    for error in np.random.default_rng(seed).random(most) < share:
        reading = chart.update(bool(error), at=0.0)
        if reading.alarm:
            return reading.n_labels
    return float("inf")


@pytest.mark.parametrize(("share", "median"), [(0.12, 40), (0.065, 80), (0.04, 170)])
def test_a_broken_promise_is_found_as_fast_as_the_published_simulation(share: float, median: float) -> None:
    assert np.median([labels_to_alarm(share, seed=seed, most=1_000) for seed in range(41)]) <= median


def test_at_the_promised_share_the_mean_run_is_at_least_one_over_alpha() -> None:
    runs = [min(labels_to_alarm(PROMISED, seed=seed, most=1_000, alpha=0.01), 1_000) for seed in range(100)]
    assert np.mean(runs) >= 100  # cut at 1,000, so if anything too short


def test_evidence_in_one_run_of_errors_counts_without_independence() -> None:
    chart = escapes()
    readings = [chart.update(True, at=float(i)) for i in range(5)]
    assert readings[-1].alarm
    assert readings[-1].n_errors == 5


def test_no_labels_for_two_shifts_make_every_figure_stale() -> None:
    chart = escapes()
    assert chart.reading(now=0.0).is_stale
    chart.update(False, at=100.0)
    assert not chart.reading(now=100.0 + 57_600).is_stale
    assert chart.reading(now=101.0 + 57_600).is_stale


def test_bounds_are_exact_and_an_empty_audit_proves_nothing() -> None:
    chart = escapes()
    assert (chart.reading(now=0.0).bounds.low, chart.reading(now=0.0).bounds.high) == (0.0, 1.0)
    for _ in range(598):
        reading = chart.update(False, at=0.0)
    assert reading.bounds.high == pytest.approx(0.00615, abs=1e-5)


def test_a_snapshot_through_json_goes_on_where_it_was_taken() -> None:
    whole, half = escapes(), escapes()
    assert half.snapshot() == whole.snapshot()
    fed: list[AuditReading] = []
    for chart in (whole, half):
        chart.update(True, at=1.0)
    restored = escapes()
    restored.restore(json.loads(json.dumps(half.snapshot())))
    fed = [chart.update(False, at=2.0) for chart in (whole, restored)]
    assert fed[0] == fed[1]


def test_labels_without_end_do_not_overflow() -> None:
    chart = escapes()
    for i in range(2_000):
        reading = chart.update(True, at=float(i))
    assert np.isfinite(reading.log_e)


def test_a_promise_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected target"):
        AuditChart("overkill", target_share=0.0, tolerance=0.0)


def test_labels_that_exclude_what_the_confidence_promises_contradict_it() -> None:
    outlook = AccuracyOutlook(expected=0.97, reference=0.98, audited=ShareBounds(0.9, 0.87, 0.93))
    assert outlook.loss == pytest.approx(0.01)
    assert outlook.contradicted
    assert not AccuracyOutlook(expected=0.97, reference=0.98, audited=None).contradicted
