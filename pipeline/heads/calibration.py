"""Temperature: the one number that makes probabilities honest, from out-of-fold logits only."""

from __future__ import annotations

import math

import numpy as np

from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

PRIOR_SPREAD = 0.3  # standard deviation of log T around log T0; a few dozen rows may not move T far
LOG_RANGE = (math.log(0.02), math.log(50.0))
N_SECTIONS = 30  # golden sections: the bracket shrinks by .618 each, to 1e-6 of its width


def log_softmax(logits: Float32Array) -> Float32Array:
    """Row-wise, stable."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    out: Float32Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return out


def negative_log_likelihood(logits: Float32Array, *, labels: Labels, temperature: float = 1.0) -> float:
    """Mean over rows, nats."""
    log_p = log_softmax((logits / np.float32(temperature)).astype(np.float32))
    return float(-log_p[np.arange(labels.size), labels].mean(dtype=np.float64))


def fit_temperature(
    logits: Float32Array,
    *,
    labels: Labels,
    start: float = 1.0,
    prior_spread: float = PRIOR_SPREAD,
    n_sections: int = N_SECTIONS,
) -> float:
    """T that minimises N * NLL(logits / T) + (log T - log T0)^2 / (2 spread^2) (Guo et al., 2017, with a prior)."""
    centre = math.log(start)

    def objective(log_t: float) -> float:
        prior = (log_t - centre) ** 2 / (2.0 * prior_spread**2)
        return labels.size * negative_log_likelihood(logits, labels=labels, temperature=math.exp(log_t)) + prior

    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = LOG_RANGE[0] + centre, LOG_RANGE[1] + centre
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    f_a, f_b = objective(a), objective(b)
    for _ in range(n_sections):
        if f_a <= f_b:
            high, b, f_b = b, a, f_a
            a = high - ratio * (high - low)
            f_a = objective(a)
        else:
            low, a, f_a = a, b, f_b
            b = low + ratio * (high - low)
            f_b = objective(b)
    return math.exp((low + high) / 2.0)


def temperature_of_confidence(logits: Float32Array, *, confidence: float) -> float:
    """T at which the mean largest probability over the rows is `confidence`, as near as T's range allows.

    For rows without labels, where something else says how many of them are right.
    """
    low, high = LOG_RANGE
    for _ in range(N_SECTIONS):
        middle = (low + high) / 2.0
        log_p = log_softmax((logits / np.float32(math.exp(middle))).astype(np.float32))
        if float(np.exp(log_p.max(axis=1)).mean(dtype=np.float64)) > confidence:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2.0)
