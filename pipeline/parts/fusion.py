"""The frames of a part to one row of scores: averaged, and sharpened by how many independent frames they are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.types import Float32Array, Scores

Array = npt.NDArray[np.float64]


def effective_frames(n: Sequence[int], *, correlation: Sequence[float]) -> Array:
    """(m,) frames -> (m,) independent frames they are worth: n / (1 + (n - 1) rho), the design effect (Kish, 1965).

    rho 1: all frames err alike, and n of them say no more than one. rho 0: each is a witness of its own.
    """
    frames = np.asarray(n, np.float64)
    out: Array = frames / (1.0 + (frames - 1.0) * np.asarray(correlation, np.float64))
    return out


def fuse(scores: Scores, *, sizes: Sequence[int], correlation: Sequence[float]) -> Scores:
    """(N, C) rows of m parts, one part after the other, `sizes` (m,) rows each -> (m, C).

    Where a frame's logits are the log odds of its evidence plus an error, and the errors of n frames correlate by rho,
    the mean's error variance is 1/n_eff of one frame's, so the part's log odds are n_eff times the mean (the same rule
    as for a Gaussian mean with correlated samples). Only differences between classes are evidence, so the mean over
    frames is sharpened about its mean over classes: a single frame is left exactly as it is.

    The temperature was fitted to single frames, where n_eff is 1, and divides afterwards: softmax(n_eff * mean / T).
    The other way round, averaging probabilities, would calibrate each frame and then claim no more for five of them
    than for one. Zero-shot and confusion go through the same linear map, so logits = zero_shot - confusion still
    holds. Novelty is a distance, not evidence: its mean.
    """
    counts = np.asarray(sizes, np.int64)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    worth = effective_frames(sizes, correlation=correlation)

    def fused(rows: Float32Array) -> Float32Array:
        mean = np.add.reduceat(rows.astype(np.float64), starts, axis=0) / counts[:, None]
        centred = mean - mean.mean(axis=1, keepdims=True)
        out: Float32Array = (mean + (worth - 1.0)[:, None] * centred).astype(np.float32)
        return out

    novelty = scores.novelty
    return Scores(
        zero_shot=fused(scores.zero_shot),
        confusion=fused(scores.confusion),
        logits=fused(scores.logits),
        novelty=None if novelty is None else (np.add.reduceat(novelty, starts) / counts).astype(np.float32),
        n_effective=worth.astype(np.float32),
    )
