"""The minimiser: right on a problem with a known optimum, and on one another implementation solves."""

from __future__ import annotations

import numpy as np

from pipeline.heads.lbfgs import cross_entropy, minimise


def test_finds_the_minimum_of_a_badly_scaled_quadratic() -> None:
    scales = np.logspace(0, 4, 30)
    target = np.arange(30.0)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        off = x - target
        return float(0.5 * (scales * off**2).sum()), scales * off

    np.testing.assert_allclose(minimise(objective, start=np.zeros(30), max_iterations=500), target, atol=1e-3)


def test_the_gradient_of_the_cross_entropy_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 4)).astype(np.float32), rng.integers(0, 4, 7)
    value, gradient = cross_entropy(logits, labels=labels)
    step = np.zeros_like(logits)
    step[3, 2] = 1e-2
    rise = (cross_entropy(logits + step, labels=labels)[0] - cross_entropy(logits - step, labels=labels)[0]) / 2e-2
    assert abs(rise - gradient[3, 2]) < 1e-4
    assert value > 0
