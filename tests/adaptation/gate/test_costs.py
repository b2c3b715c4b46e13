"""What errors cost, and what the gate calls an escape."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.gate.costs import CostMatrix, build_costs
from pipeline.errors import ConfigError

CLASSES = ("ok", "dent", "scratch")
COSTS = build_costs(CLASSES, good_classes=["ok"], escape=10.0, overkill=1.0, mix_up=0.5, review=0.2)


def test_the_matrix_holds_each_error_at_its_price() -> None:
    expected = [[0, 1, 1, 0.2], [10, 0, 0.5, 0.2], [10, 0.5, 0, 0.2]]
    np.testing.assert_allclose(COSTS.values, expected)
    assert COSTS.review == 3


def test_gains_are_shares_of_the_largest_cost_from_the_challengers_side() -> None:
    assert COSTS.gain(1, champion=0, challenger=1) == pytest.approx(1.0)
    assert COSTS.gain(1, champion=1, challenger=0) == pytest.approx(-1.0)
    assert COSTS.gain(0, champion=1, challenger=0) == pytest.approx(0.1)
    assert COSTS.gain(1, champion=0, challenger=3) == pytest.approx(0.98)


def test_only_an_accepted_defect_is_an_escape() -> None:
    escapes = [(truth, decided) for truth in range(3) for decided in range(4) if COSTS.escapes(truth, decided=decided)]
    assert escapes == [(1, 0), (2, 0)]


def test_an_unknown_good_class_is_named() -> None:
    with pytest.raises(ConfigError, match="got fine"):
        build_costs(CLASSES, good_classes=["fine"], escape=1, overkill=1, mix_up=1, review=0)


@pytest.mark.parametrize(
    ("values", "good"),
    [
        (np.zeros((2, 3)), (True, False)),
        (np.ones((2, 2)), (True, False)),
        (-np.ones((2, 3)), (True, False)),
        (np.full((2, 3), np.nan), (True, False)),
        (np.ones((2, 3)), (True, True)),
    ],
)
def test_costs_that_cannot_steer_are_refused(values: np.ndarray, good: tuple[bool, ...]) -> None:
    with pytest.raises(ConfigError, match="costs: expected"):
        CostMatrix(values, good)
