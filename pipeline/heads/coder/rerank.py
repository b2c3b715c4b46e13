"""CODER's second stage: texts that tell one class from one rival, asked about the best few classes only.

Yi et al., CVPR 2024, section 3.3. A pair's margin is linear in the image, so each pair is one vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.calibration import log_softmax
from pipeline.heads.coder.coding import FloatArray, unit
from pipeline.heads.whitening import Labels

N_CANDIDATES = 5  # of the published code
GAMMAS = (3.0, 10.0, 30.0, 100.0)  # logit units per unit of mean cosine margin; 0 leaves the rerank out


@dataclass(frozen=True, eq=False)
class PairVectors:
    """For each pair with texts in both directions: mean text of (first, second) minus mean text of (second, first)."""

    difference: FloatArray  # (Q, D)
    pair_of: Labels  # (Q, 2), first < second
    n_classes: int

    @cached_property
    def lookup(self) -> Labels:
        """(C, C) signed row number of `padded`: positive (i, j), negative (j, i), 0 where there is no pair."""
        table = np.zeros((self.n_classes, self.n_classes), dtype=np.int64)
        rows = np.arange(1, len(self.pair_of) + 1)
        table[self.pair_of[:, 0], self.pair_of[:, 1]] = rows
        table[self.pair_of[:, 1], self.pair_of[:, 0]] = -rows
        return table

    @cached_property
    def padded(self) -> FloatArray:
        """(1 + Q, D): a row of zeros, for pairs without texts, before the differences."""
        return np.concatenate([np.zeros_like(self.difference, shape=(1, self.difference.shape[1])), self.difference])


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """What the one-to-one texts say about the best k classes of stage 1."""

    candidates: Labels  # (B, k), best first
    margins: FloatArray  # (B, k, k), antisymmetric; 0 on the diagonal and where the pair has no texts
    means: FloatArray  # (B, k), mean over the k - 1 rivals, missing ones counted as 0
    gap: FloatArray  # (B,), p1 - p2 of the softmax of stage 1


def pair_vectors(texts: FloatArray, *, pair_of: Labels, n_classes: int) -> PairVectors:
    """(R, D) texts, row (i, j) telling class i from class j -> vectors of the pairs that have both directions."""
    if pair_of.size and (pair_of.min() < 0 or pair_of.max() >= n_classes or (pair_of[:, 0] == pair_of[:, 1]).any()):
        raise DataError(f"one-to-one texts: expected two different classes below {n_classes} per text")
    texts = unit(texts)
    keys, group = np.unique(pair_of[:, 0] * n_classes + pair_of[:, 1], return_inverse=True)
    means = np.zeros((len(keys), texts.shape[1]), dtype=texts.dtype)
    np.add.at(means, group, texts)
    means /= np.bincount(group, minlength=len(keys))[:, None].astype(texts.dtype)
    first, second = keys // n_classes, keys % n_classes
    backward = np.searchsorted(keys, second * n_classes + first)
    found = keys[np.minimum(backward, len(keys) - 1)] == second * n_classes + first if len(keys) else keys == 1
    kept = np.flatnonzero(found & (first < second))
    difference = means[kept] - means[backward[kept]]
    return PairVectors(difference, np.stack([first[kept], second[kept]], axis=1), n_classes)


def top_classes(scores: FloatArray, *, k: int) -> Labels:
    """(B, C) -> (B, k) best first; of equal scores the lower class number first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def top_gap(scores: FloatArray) -> FloatArray:
    """(B, C) -> (B,): largest minus second largest probability of the softmax."""
    p = np.sort(np.exp(log_softmax(scores)), axis=1)
    out: FloatArray = p[:, -1] - p[:, -2]
    return out


def pair_evidence(
    image: FloatArray, *, stage1: FloatArray, pairs: PairVectors, n_candidates: int = N_CANDIDATES
) -> PairEvidence:
    """(B, D) images and (B, C) stage-1 scores -> margins of the best k = min(n_candidates, C) classes."""
    k = min(n_candidates, stage1.shape[1])
    candidates = top_classes(stage1, k=k)
    v = unit(image)
    margins = np.zeros((len(v), k, k), dtype=v.dtype)
    for a in range(k):
        for b in range(a + 1, k):
            row = pairs.lookup[candidates[:, a], candidates[:, b]]
            margins[:, a, b] = np.sign(row) * np.einsum("bd,bd->b", v, pairs.padded[np.abs(row)])
            margins[:, b, a] = -margins[:, a, b]
    means = margins.sum(axis=2) / v.dtype.type(max(1, k - 1))
    return PairEvidence(candidates, margins, means, top_gap(stage1))


def triggered(
    evidence: PairEvidence, *, theta: float, labels: Labels | None = None
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(B,) rows that stage 2 decides: gap below theta, strictly.

    `labels` is the published code's extra gate, which only lets rows pass whose true class is a candidate: for
    comparing with its figures; no line has them.
    """
    open_rows = evidence.gap < theta
    return open_rows if labels is None else open_rows & (evidence.candidates == labels[:, None]).any(axis=1)


def replaced_scores(stage1: FloatArray, *, evidence: PairEvidence, theta: float) -> FloatArray:
    """Published rule as scores: triggered rows hand their k best scores to the candidates in order of mean margin.

    The winner is the candidate with the largest mean margin, on a tie the one stage 1 liked better.
    """
    out = stage1.copy()
    rows = np.flatnonzero(triggered(evidence, theta=theta))
    order = np.argsort(-evidence.means[rows], axis=1, kind="stable")
    candidates = evidence.candidates[rows]
    best_first = np.take_along_axis(stage1[rows], candidates, axis=1)
    out[rows[:, None], np.take_along_axis(candidates, order, axis=1)] = best_first
    return out


def published_labels(
    stage1: FloatArray, *, evidence: PairEvidence, theta: float, labels: Labels | None = None
) -> Labels:
    """(B,) class numbers: stage-1 scores dropped where stage 2 decides."""
    rows = triggered(evidence, theta=theta, labels=labels)
    winner = evidence.candidates[np.arange(len(stage1)), evidence.means.argmax(axis=1)]
    out: Labels = np.where(rows, winner, stage1.argmax(axis=1))
    return out


def added_scores(stage1: FloatArray, *, evidence: PairEvidence, gamma: float) -> FloatArray:
    """Corrected rule: z_i + gamma * mean margin over the other candidates; 0 leaves stage 1 as it is."""
    out = stage1.copy()
    rows = np.arange(len(stage1))[:, None]
    out[rows, evidence.candidates] += stage1.dtype.type(gamma) * evidence.means
    return out


@dataclass(frozen=True, slots=True)
class GammaChoice:
    """The weight of the one-to-one texts, and what it was chosen on."""

    gamma: float
    gain: float  # paired difference in accuracy to gamma 0
    standard_error: float


def choose_gamma(
    stage1: FloatArray, *, evidence: PairEvidence, labels: Labels, gammas: tuple[float, ...] = GAMMAS
) -> GammaChoice:
    """The gamma of highest accuracy if its paired gain over 0 exceeds one standard error, else 0.

    Nothing of a text head is fitted to these rows, so all of them count as out of fold.
    """
    before = stage1.argmax(axis=1) == labels
    best = GammaChoice(0.0, 0.0, 0.0)
    for gamma in gammas:
        after = added_scores(stage1, evidence=evidence, gamma=gamma).argmax(axis=1) == labels
        difference = after.astype(np.float64) - before
        gain, error = float(difference.mean()), float(difference.std() / np.sqrt(max(1, labels.size - 1)))
        if gain > max(error, best.gain):
            best = GammaChoice(gamma, gain, error)
    return best
