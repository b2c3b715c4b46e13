"""One editable table of money: what it fills in, what a pair overrides, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import CostMatrix
from pipeline.errors import ConfigError

CLASSES = ("ok", "fine", "scratch", "dent")


def costs(**given: object) -> CostMatrix:
    amounts = {"escape": 10.0, "overkill": 2.0, "mix_up": 1.0, "review": 0.5} | given
    return CostMatrix.build(CLASSES, good_classes={"ok", "fine"}, **amounts)  # type: ignore[arg-type]


def test_four_amounts_fill_the_table_by_what_is_good() -> None:
    assert costs().array.tolist() == [
        [0, 1, 2, 2, 0.5],
        [1, 0, 2, 2, 0.5],
        [10, 10, 0, 1, 0.5],
        [10, 10, 1, 0, 0.5],
    ]


def test_a_pair_overrides_its_cell_and_review_is_a_column_like_the_others() -> None:
    got = costs(pairs={"dent": {"ok": 90.0, "review": 3.0, "dent": 0.2}}).array
    assert got[3].tolist() == [90, 10, 1, 0.2, 3]
    assert got[2].tolist() == costs().array[2].tolist()


def test_expected_cost_weighs_each_decision_by_what_the_part_may_be() -> None:
    got = costs().expected(np.array([[0.9, 0.0, 0.1, 0.0], [0.0, 0.0, 0.5, 0.5]], np.float32))
    assert got == pytest.approx(np.array([[1.0, 1.9, 1.8, 1.9, 0.5], [10.0, 10.0, 0.5, 0.5, 0.5]]), abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"escape": -1.0}, "got -1.0 for scratch decided as ok"),
        ({"review": float("nan")}, "got nan for ok decided as review"),
        ({"pairs": {"rust": {"ok": 1.0}}}, "got rust"),
        ({"pairs": {"ok": {"rust": 1.0}}}, "got rust"),
        ({"currency": "euro"}, "three capital letters like EUR, got 'euro'"),
    ],
)
def test_what_cannot_be_a_cost_is_refused_by_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        costs(**given)


def test_a_class_called_review_is_refused() -> None:
    with pytest.raises(ConfigError, match="no class called 'review'"):
        CostMatrix.build(("ok", "review"), good_classes={"ok"}, escape=1, overkill=1, mix_up=1, review=1)
