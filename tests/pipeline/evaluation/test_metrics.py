"""Metrics against numbers worked out by hand or by another library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.evaluation.metrics import accuracy, expected_calibration_error, mcnemar, mean_and_sd


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    p = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 6 + [1] * 4)
    assert expected_calibration_error(np.log(p).astype(np.float32), labels=labels, temperature=1.0) == pytest.approx(
        0.3
    )


def test_a_temperature_that_makes_confidence_honest_removes_the_error() -> None:
    logits = np.tile(np.array([2.0, 0.0], np.float32), (1000, 1))
    honest = 1 / (1 + np.exp(-1.0))  # accuracy at temperature 2
    labels = (np.arange(1000) >= round(1000 * honest)).astype(np.int64)
    assert expected_calibration_error(logits, labels=labels, temperature=2.0) < 0.001
    assert expected_calibration_error(logits, labels=labels, temperature=1.0) > 0.1


def test_mcnemar_is_the_exact_binomial_test_on_the_rows_that_differ() -> None:
    labels = np.zeros(100, np.int64)
    first, second = np.tile([1.0, 0.0], (100, 1)), np.tile([1.0, 0.0], (100, 1))
    first[:8] = second[8:28] = [0.0, 1.0]
    result = mcnemar(first.astype(np.float32), second=second.astype(np.float32), labels=labels)
    assert (result.only_first, result.only_second) == (20, 8)
    assert result.p_value == pytest.approx(binomtest(8, 28, 0.5).pvalue)
    same = mcnemar(first.astype(np.float32), second=first.astype(np.float32), labels=labels)
    assert same.p_value == 1.0


def test_accuracy_carries_wilsons_interval_and_one_value_has_no_spread() -> None:
    found = accuracy(np.tile([1.0, 0.0], (150, 1)).astype(np.float32), labels=np.array([0] * 120 + [1] * 30))
    assert found.value == pytest.approx(0.8)
    assert found.interval == pytest.approx((0.729, 0.856), abs=0.002)
    assert mean_and_sd([0.5]) == (0.5, 0.0)
    assert mean_and_sd([0.4, 0.6])[1] == pytest.approx(0.1414, abs=1e-4)
