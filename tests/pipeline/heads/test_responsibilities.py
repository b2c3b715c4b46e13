"""Soft class memberships of unlabelled rows: drawn towards equal shares, agreed with neighbours."""

from __future__ import annotations

import numpy as np

from pipeline.heads import responsibilities
from pipeline.heads.responsibilities import balanced, neighbours, smoothed


def shares(logits: np.ndarray) -> np.ndarray:
    return balanced(logits, balance=2.0).mean(axis=0)


def test_rows_sum_to_one_and_even_logits_stay_as_the_softmax_has_them() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]))
    np.testing.assert_allclose(balanced(logits, balance=2.0), np.exp(logits), atol=1e-9)
    loud = np.random.default_rng(0).normal(size=(50, 7)) * 30.0
    np.testing.assert_allclose(balanced(loud, balance=2.0).sum(axis=1), 1.0)


def test_a_class_that_all_rows_lean_to_gives_some_of_them_up() -> None:
    logits = np.random.default_rng(0).normal(size=(300, 4)) + np.array([1.0, 0.0, 0.0, 0.0])
    plain = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = shares(logits)
    assert found[0] < plain.mean(axis=0)[0] - 0.1
    assert found[0] > 0.25


def test_a_class_that_is_clearly_rare_stays_rare() -> None:
    labels = np.array([0] * 95 + [1] * 5)
    logits = 20.0 * np.eye(2)[labels]
    np.testing.assert_allclose(shares(logits), [0.95, 0.05], atol=1e-6)


def test_a_row_between_two_classes_follows_its_neighbours() -> None:
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.95, 0.05], [0.0, 1.0], [0.1, 0.9], [0.05, 0.95]])
    given = np.array([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    near = neighbours(rows, precision=np.eye(2))[:, :2]
    out = smoothed(given, near=near)
    assert out[0, 0] > 0.7
    np.testing.assert_allclose(out.sum(axis=1), 1.0)


def test_no_row_is_its_own_neighbour_and_pieces_change_nothing(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rows = np.random.default_rng(1).normal(size=(40, 5))
    whole = neighbours(rows, precision=np.eye(5))
    assert not (whole == np.arange(40)[:, None]).any()
    monkeypatch.setattr(responsibilities, "CHUNK", 7)
    pieces = neighbours(rows, precision=np.eye(5))
    np.testing.assert_array_equal(np.sort(pieces, axis=1), np.sort(whole, axis=1))


def test_a_pool_of_one_row_has_no_neighbours() -> None:
    near = neighbours(np.ones((1, 3)), precision=np.eye(3))
    np.testing.assert_array_equal(smoothed(np.array([[0.2, 0.8]]), near=near), [[0.2, 0.8]])
