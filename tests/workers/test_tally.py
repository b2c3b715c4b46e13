"""A run's figures are right and take constant memory."""

from __future__ import annotations

import numpy as np
import pytest

from tests.making import make_prediction
from workers.tally import Tally


def test_accuracy_counts_only_frames_with_a_known_truth() -> None:
    tally = Tally()
    tally.add(
        [
            make_prediction(0, label="ok", zero_shot_label="scratch", truth="ok"),
            make_prediction(1, label="ok", zero_shot_label="ok", truth="scratch"),
            make_prediction(2, label="ok", zero_shot_label="ok"),
            make_prediction(3, label="ok", zero_shot_label="ok", truth="ok"),
        ],
        now=1001.0,
    )
    summary = tally.summary()
    assert (summary.n_delivered, summary.n_with_truth) == (4, 3)
    assert summary.accuracy_zero_shot == pytest.approx(1 / 3)
    assert summary.accuracy_head == pytest.approx(2 / 3)


def test_without_truth_or_frames_there_is_no_figure() -> None:
    summary = Tally().summary()
    assert summary.accuracy_head is None
    assert summary.latency_p50_s is None


def test_latency_quantiles_are_within_one_per_cent() -> None:
    tally = Tally()
    latencies = np.random.default_rng(0).lognormal(-3, 1, 2000)
    for latency in latencies:
        tally.add([make_prediction()], now=1000.0 + latency)
    summary = tally.summary()
    assert summary.latency_p50_s == pytest.approx(np.quantile(latencies, 0.5), rel=0.015)
    assert summary.latency_p99_s == pytest.approx(np.quantile(latencies, 0.99), rel=0.03)
