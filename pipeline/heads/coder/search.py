"""Settings of the CODER-Adapter: the published grid on a validation split, and the one on held-out support images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.heads.calibration import negative_log_likelihood
from pipeline.heads.coder.adapter import adapter_logits, cache_logits
from pipeline.heads.coder.coding import FloatArray
from pipeline.heads.whitening import Labels

PUBLISHED_BETAS = (0.1, 200.0, 500)  # lower end, upper end (left out), steps
PUBLISHED_ALPHAS = (0.1, 20.0, 50)
PUBLISHED_ROUNDS = 3
PUBLISHED_WINDOW = (0.5, 1.5)  # of the best so far, from the second round on

DEFAULT_ALPHA, DEFAULT_BETA = 1.0, 5.0  # where no support image can be held out
ALPHAS = (0.5, 1.0, 2.0, 5.0, 10.0)  # of the corrected form; 0, the prior alone, is always a candidate
BETAS = (1.0, 3.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, eq=False)
class SearchRound:
    """One grid of the published search and its first maximum, beta outer, alpha inner."""

    betas: FloatArray  # (n_beta,)
    alphas: FloatArray  # (n_alpha,)
    n_correct: Labels  # (n_beta, n_alpha)

    @property
    def best(self) -> tuple[float, float]:
        """(alpha, beta); of equal cells the smallest beta, then the smallest alpha."""
        b, a = divmod(int(self.n_correct.argmax()), len(self.alphas))
        return float(self.alphas[a]), float(self.betas[b])


def _grid(low: float, *, high: float, n: int) -> FloatArray:
    return low + np.arange(n) * (high - low) / n


def count_correct(
    base: FloatArray, *, affinity: FloatArray, labels: Labels, key_class: Labels, betas: FloatArray, alphas: FloatArray
) -> Labels:
    """Right answers (n_beta, n_alpha) of base (n, C) + alpha * cache(beta)."""
    counts = np.zeros((len(betas), len(alphas)), dtype=np.int64)
    for i, beta in enumerate(betas):
        cache = cache_logits(affinity, key_class=key_class, n_classes=base.shape[1], beta=float(beta))
        for j, alpha in enumerate(alphas):
            counts[i, j] = ((base + base.dtype.type(alpha) * cache).argmax(axis=1) == labels).sum()
    return counts


def published_search(
    base: FloatArray, *, affinity: FloatArray, labels: Labels, key_class: Labels
) -> tuple[SearchRound, ...]:
    """Three rounds over 500 betas x 50 alphas on labelled validation rows; the last round's best is the answer.

    Scores are not carried over from round to round, so that on a plateau both settings slide to the lower edge.
    """
    (*beta_ends, n_betas), (*alpha_ends, n_alphas) = PUBLISHED_BETAS, PUBLISHED_ALPHAS
    rounds = []
    for _ in range(PUBLISHED_ROUNDS):
        betas, alphas = (
            _grid(beta_ends[0], high=beta_ends[1], n=n_betas),
            _grid(alpha_ends[0], high=alpha_ends[1], n=n_alphas),
        )
        counts = count_correct(base, affinity=affinity, labels=labels, key_class=key_class, betas=betas, alphas=alphas)
        rounds.append(SearchRound(betas, alphas, counts))
        alpha, beta = rounds[-1].best
        beta_ends = [beta * edge for edge in PUBLISHED_WINDOW]
        alpha_ends = [alpha * edge for edge in PUBLISHED_WINDOW]
    return tuple(rounds)


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """Settings of the corrected adapter, and what they were chosen on."""

    alpha: float
    beta: float
    gain: float  # paired difference in held-out accuracy to the prior alone
    standard_error: float
    n_judged: int  # support images that could be held out; 0: the defaults, nothing was chosen


def choose_adapter(
    base: FloatArray,
    *,
    affinity: FloatArray,
    labels: Labels,
    groups: Labels,
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> AdapterChoice:
    """Best held-out accuracy, then likelihood, over a small grid; the prior alone unless the gain exceeds its error.

    `base` (n, C) and `affinity` (n, n) are those of the support images themselves. A row is judged without the keys of
    its own source image (`groups`), and only where another image of its class is left.
    """
    n_of_class = np.bincount(labels)
    _, group_of = np.unique(groups, return_inverse=True)
    judged = np.flatnonzero(n_of_class[labels] > np.bincount(group_of)[group_of])
    if judged.size == 0:
        return AdapterChoice(DEFAULT_ALPHA, DEFAULT_BETA, 0.0, 0.0, 0)
    apart = np.where(groups[judged, None] == groups[None, :], -np.inf, affinity[judged]).astype(affinity.dtype)
    y, prior = labels[judged], base[judged]
    before = prior.argmax(axis=1) == y
    best, best_rank = AdapterChoice(0.0, DEFAULT_BETA, 0.0, 0.0, judged.size), (0.0, 0.0)
    for beta in betas:
        for alpha in alphas:
            logits = adapter_logits(prior, affinity=apart, key_class=labels, alpha=alpha, beta=beta)
            difference = (logits.argmax(axis=1) == y).astype(np.float64) - before
            gain, error = float(difference.mean()), float(difference.std() / np.sqrt(max(1, judged.size - 1)))
            rank = (gain, -negative_log_likelihood(logits, labels=y))
            if gain > error and rank > best_rank:
                best, best_rank = AdapterChoice(alpha, beta, gain, error, judged.size), rank
    return best
