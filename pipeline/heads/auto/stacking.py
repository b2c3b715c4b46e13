"""Which blend of heads to trust: weights from out-of-fold logits, and the paired gain with its standard error."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.heads.auto.blend import Part, blended
from pipeline.heads.calibration import log_softmax, negative_log_likelihood
from pipeline.heads.folds import FOUR_FOLDS_FROM, Folds, make_folds
from pipeline.heads.simple.affine import centred_rows
from pipeline.heads.whitening import TINY, Labels
from pipeline.types import Features, Float32Array

STEPS = 4  # the blends tried have weights in quarters
TEMPERING = 4.0  # a blend's weight is exp(-N NLL / 4): near-equal blends are averaged, clearly worse ones vanish
CLASS_GROUPS = 2  # at two and three shots a fold holds out rows of half of the classes only
TEMPERATURES = tuple(0.05 * 1.5**i for i in range(10))  # of standardised logits, .05 to 1.9
EVERY_NTH = 2_000  # rows judged at most when blends are compared; the rest would not move the choice

Fit = Callable[[Labels], Part]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Out-of-fold logits (M, C) per head, over that head's spread, and the rows' labels."""

    logits: Mapping[str, Float32Array]
    labels: Labels  # (M,)
    rows: Labels  # (M,), which labelled row each of them is
    spreads: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Gain:
    """Paired difference of out-of-fold accuracy, fractions."""

    value: float
    standard_error: float

    def exceeds(self, *, n_errors: float) -> bool:
        """Above so many standard errors, and above zero."""
        return self.value > max(n_errors * self.standard_error, 0.0)

    def falls_short(self, *, n_errors: float) -> bool:
        """Below minus so many standard errors."""
        return self.value < -n_errors * self.standard_error


def selection_folds(labels: Labels, *, groups: Labels, n_classes: int, seed: int) -> Folds:
    """`make_folds`, but with two and three shots each fold is cut once more by class.

    Holding one of two shots of *every* class would leave no within-class scatter and judge all heads as at one shot.
    """
    folds = make_folds(labels, groups=groups, n_classes=n_classes, seed=seed)
    if not 0 < folds.n_folds < FOUR_FOLDS_FROM:
        return folds
    group = np.random.default_rng(seed).permutation(n_classes) % CLASS_GROUPS
    fold_of = np.where(folds.fold_of < 0, -1, folds.fold_of * CLASS_GROUPS + group[labels])
    return Folds(fold_of=fold_of, n_folds=folds.n_folds * CLASS_GROUPS, kind=folds.kind, seed=seed)


def held_out_logits(fits: Mapping[str, Fit], *, features: Features, labels: Labels, folds: Folds) -> HeldOut:
    """Fits every head on each fold's kept rows and scores the rows it holds out."""
    logits: dict[str, list[Float32Array]] = {name: [] for name in fits}
    judged: list[Labels] = []
    for fold in range(folds.n_folds):
        held = folds.held_out(fold)
        if not held.size:
            continue
        judged.append(held)
        queries = Features(image=features.image[held], levels=tuple(level[held] for level in features.levels))
        for name, fit in fits.items():
            logits[name].append(centred_rows(fit(folds.kept(fold)).score(queries).logits))
    joined = {name: np.concatenate(parts) for name, parts in logits.items()}
    spreads = {name: spread(z) for name, z in joined.items()}
    scaled = {name: (z / np.float32(spreads[name])).astype(np.float32) for name, z in joined.items()}
    rows = np.concatenate(judged)
    return HeldOut(logits=scaled, labels=labels[rows], rows=rows, spreads=spreads)


def spread(logits: Float32Array) -> float:
    """Standard deviation of row-centred logits, never zero."""
    return max(float(centred_rows(logits).std(dtype=np.float64)), TINY)


def blend_of(held_out: HeldOut, *, weights: Mapping[str, float]) -> Float32Array:
    """(M, C) out-of-fold logits of a blend of standardised heads."""
    names = tuple(weights)
    return blended(tuple(held_out.logits[n] for n in names), weights=tuple(weights[n] for n in names))


def stacked_weights(held_out: HeldOut, *, names: tuple[str, ...]) -> dict[str, float]:
    """Mean of all blends in quarters, each weighted by exp(-N NLL / 4) at its own best temperature.

    Stacking (Wolpert, 1992) as a posterior mean over blends: where the rows cannot tell two blends apart, both count.
    """
    rows = np.arange(held_out.labels.size)
    rows = rows[:: max(1, math.ceil(rows.size / EVERY_NTH))]
    labels = held_out.labels[rows]
    parts = [held_out.logits[name][rows] for name in names]
    blends = [c for c in itertools.product(range(STEPS + 1), repeat=len(names)) if sum(c) == STEPS]
    loss = np.empty(len(blends))
    for i, blend in enumerate(blends):
        z = np.sum([w / STEPS * part for w, part in zip(blend, parts, strict=True) if w], axis=0).astype(np.float32)
        best = min(negative_log_likelihood(z, labels=labels, temperature=t) for t in TEMPERATURES)
        loss[i] = held_out.labels.size * best
    belief = np.exp(-(loss - loss.min()) / TEMPERING)
    mean = (belief / belief.sum()) @ np.asarray(blends, dtype=np.float64) / STEPS
    return dict(zip(names, map(float, mean), strict=True))


def paired_likelihood_gain(challenger: Float32Array, *, incumbent: Float32Array, labels: Labels) -> Gain:
    """The same of the log-likelihood, nats per row, each at its own best temperature: more telling on few rows."""
    rows = np.arange(labels.size)
    likelihoods = []
    for logits in (challenger, incumbent):
        best = min((negative_log_likelihood(logits, labels=labels, temperature=t), t) for t in TEMPERATURES)[1]
        log_p = log_softmax((logits / np.float32(best)).astype(np.float32))
        likelihoods.append(log_p[rows, labels].astype(np.float64))
    difference = likelihoods[0] - likelihoods[1]
    error = float(difference.std(ddof=1)) / math.sqrt(labels.size) if labels.size > 1 else math.inf
    return Gain(value=float(difference.mean()), standard_error=error)


def paired_gain(challenger: Float32Array, *, incumbent: Float32Array, labels: Labels) -> Gain:
    """Mean and standard error of (challenger right) - (incumbent right) over the same rows."""
    right = (challenger.argmax(axis=1) == labels).astype(np.float64)
    difference = right - (incumbent.argmax(axis=1) == labels)
    error = float(difference.std(ddof=1)) / math.sqrt(labels.size) if labels.size > 1 else math.inf
    return Gain(value=float(difference.mean()), standard_error=error)
