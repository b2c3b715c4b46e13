"""Which class an unlabelled row belongs to, softly: balanced over the classes and agreed with its neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.heads.simple.affine import Array
from pipeline.heads.whitening import TINY

BALANCE_ROUNDS = 15
N_NEIGHBOURS = 8  # 5 to 12 are alike
NEIGHBOUR_SHARE = 0.5  # of a row's responsibilities that its neighbours give
CHUNK = 2_048  # rows whose neighbours are looked for at once: bounds memory

Neighbours = npt.NDArray[np.int64]


def balanced(logits: Array, *, balance: float) -> Array:
    """(M, C) logits -> (M, C) responsibilities, rows summing to one, columns drawn towards equal shares.

    Unbalanced optimal transport between rows and classes (Chizat et al., 2018, generalised Sinkhorn): the rows' sums
    are kept, those of the classes cost `balance` times their divergence from equal shares: 0 leaves the logits alone,
    infinity makes shares equal, and in between a rare class may stay rare.
    """
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    weight = np.ones(logits.shape[1])
    even = logits.shape[0] / logits.shape[1]
    for _ in range(BALANCE_ROUNDS):
        given = odds.T @ (1.0 / (odds @ weight))  # a class's mass at weight one
        weight = (even / np.maximum(given, TINY)) ** (balance / (1.0 + balance))
    out: Array = odds * weight
    out /= out.sum(axis=1, keepdims=True)
    return out


def neighbours(rows: Array, *, precision: Array) -> Neighbours:
    """(M, R) rows -> (M, k) the nearest others by cosine, in the metric of the shared covariance."""
    z = rows @ np.linalg.cholesky(precision)
    z = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), TINY)).astype(np.float32)
    k = min(N_NEIGHBOURS, z.shape[0] - 1)
    found = [np.empty((0, k), np.int64)]
    for start in range(0, z.shape[0], CHUNK):
        near = z[start : start + CHUNK] @ z.T
        near[np.arange(near.shape[0]), start + np.arange(near.shape[0])] = -np.inf
        found.append(np.argpartition(-near, k - 1, axis=1)[:, :k].astype(np.int64) if k else found[0])
    return np.concatenate(found)


def smoothed(responsibilities: Array, *, near: Neighbours) -> Array:
    """A row's responsibilities, half of them its neighbours' mean (label propagation, Zhou et al., 2004, one step)."""
    if not near.size:
        return responsibilities
    agreed = np.mean([responsibilities[near[:, i]] for i in range(near.shape[1])], axis=0)
    out: Array = (1.0 - NEIGHBOUR_SHARE) * responsibilities + NEIGHBOUR_SHARE * agreed
    return out
