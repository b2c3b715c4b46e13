"""Limited-memory BFGS for smooth convex functions: small, deterministic, and without a second of imports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.heads.whitening import TINY, Labels
from pipeline.types import Float32Array

Vector = npt.NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]

HISTORY = 10
SUFFICIENT = 1e-4  # of the decrease that the slope promises (Armijo)
HALVINGS = 25
GRADIENT_TOLERANCE = 1e-6
VALUE_TOLERANCE = 1e-8  # relative


def minimise(objective: Objective, *, start: Vector, max_iterations: int) -> Vector:
    """Two-loop L-BFGS (Nocedal and Wright, 2006, algorithm 7.4) with backtracking."""
    x = start.copy()
    value, gradient = objective(x)
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=HISTORY)
    for _ in range(max_iterations):
        if float(np.abs(gradient).max()) < GRADIENT_TOLERANCE:
            break
        direction = -_times_inverse_hessian(gradient, pairs=pairs)
        slope = float(gradient @ direction)
        step = 1.0 if pairs else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), TINY))
        for _ in range(HALVINGS):
            new_value, new_gradient = objective(x + step * direction)
            if new_value <= value + SUFFICIENT * step * slope:
                break
            step *= 0.5
        else:
            break
        moved, turned = step * direction, new_gradient - gradient
        if float(moved @ turned) > TINY:
            pairs.append((moved, turned))
        x, gained = x + moved, value - new_value
        value, gradient = new_value, new_gradient
        if gained <= VALUE_TOLERANCE * max(abs(value), 1.0):
            break
    return x


def _times_inverse_hessian(gradient: Vector, *, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    q = gradient.copy()
    kept = []
    for s, y in reversed(pairs):
        rho = 1.0 / float(s @ y)
        alpha = rho * float(s @ q)
        q -= alpha * y
        kept.append((rho, alpha))
    if pairs:
        s, y = pairs[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y), (rho, alpha) in zip(pairs, reversed(kept), strict=True):
        q += s * (alpha - rho * float(y @ q))
    return q


def cross_entropy(logits: Float32Array, *, labels: Labels) -> tuple[float, Float32Array]:
    """Mean over rows (N, C), nats, and its gradient by the logits (N, C)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    odds = np.exp(shifted)
    total = odds.sum(axis=1, keepdims=True)
    rows = np.arange(labels.size)
    value = float((np.log(total[:, 0]) - shifted[rows, labels]).mean(dtype=np.float64))
    gradient = odds / total
    gradient[rows, labels] -= 1.0
    return value, (gradient / labels.size).astype(np.float32)
