"""How accuracy grows with labels, and whether that can be told from so many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material, take_rows
from pipeline.heads.folds import make_folds
from pipeline.heads.whitening import Labels

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
N_RESAMPLES = 400
LEAST_ERRORS = 5  # wrong answers with all labels; from fewer no slope can be read
SLOPES = np.linspace(-0.5, 1.5, 61)  # b of error = a n^-b; below 0 labels do harm
ERRORS_AT_ALL = np.geomspace(0.001, 0.9, 80)  # error with all labels; a follows from it
LEVELS = (0.05, 0.95)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LearningPoint:
    """Mean over the draws."""

    n_labels: int  # source images fitted on, all classes
    accuracy: float
    low: float  # 90 % interval over images
    high: float


@dataclass(frozen=True, slots=True)
class MoreLabels:
    """What twice the labels would bring; fractions, with 90 % intervals."""

    n_more: int
    gain: float
    low: float
    high: float
    accuracy: tuple[float, float, float]  # then: value, low, high


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Points, and the power law through them as far as they carry one."""

    points: tuple[LearningPoint, ...]  # empty where nothing could be held out
    n_draws: int
    slope: float | None  # b of error = a n^-b
    more: MoreLabels | None  # None: it cannot be told from this many


@dataclass(frozen=True, eq=False)
class Trials:
    """Which held-out image was right with which share of the labels, per draw."""

    n_labels: Array  # (F,), mean source images fitted on
    right: Array  # (J, F), 1 where right; an image judged in several draws has several rows
    image: Labels  # (J,), source image of the row


def learning_curve(
    support: LabelledFeatures,
    *,
    material: Material,
    kind: str,
    n_draws: int,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _: None,
) -> LearningCurve:
    """Refit with a quarter, half, three quarters and all of the labels outside a fold, judged on the fold. Blocks.

    A draw holds out one of four folds; every fold is held out before another shuffle begins.
    """
    trials = run_trials(support, material=material, kind=kind, n_draws=n_draws, seed=seed, on_progress=on_progress)
    return extrapolated(trials, n_draws=n_draws, seed=seed)


def run_trials(
    support: LabelledFeatures,
    *,
    material: Material,
    kind: str,
    n_draws: int,
    seed: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Trials:
    """The fits themselves; no row where the classes have one image each."""
    right, image, sizes = [], [], []
    for draw in range(n_draws):
        folds = make_folds(support.labels, groups=support.groups, n_classes=len(support.classes), seed=seed + draw // 4)
        held = folds.held_out(draw % folds.n_folds) if folds.n_folds else np.zeros(0, np.int64)
        if not held.size:
            continue
        kept = np.setdiff1d(np.arange(support.labels.size), held)
        columns = []
        for step, fraction in enumerate(FRACTIONS):
            some = support.take(_drawn(support, rows=kept, fraction=fraction, seed=seed + draw))
            fitted = fit_head(some, material=material, kind=kind, seed=seed)
            logits = fitted.head.score(take_rows(support.features, rows=held)).logits
            columns.append(logits.argmax(axis=1) == support.labels[held])
            sizes.append(np.unique(some.groups).size)
            on_progress((draw * len(FRACTIONS) + step + 1) / (n_draws * len(FRACTIONS)))
        right.append(np.stack(columns, axis=1).astype(np.float64))
        image.append(support.groups[held])
    if not right:
        return Trials(np.zeros(0), np.zeros((0, len(FRACTIONS))), np.zeros(0, np.int64))
    return Trials(np.reshape(sizes, (-1, len(FRACTIONS))).mean(axis=0), np.concatenate(right), np.concatenate(image))


def extrapolated(trials: Trials, *, n_draws: int, seed: int) -> LearningCurve:
    """Points and, where there are errors enough and the gain is surely above 0, what twice the labels would bring.

    error = a n^-b (Hestness et al., 2017) by binomial likelihood on a grid; its spread by resampling source images,
    so that images judged in several draws, and at every share of the labels, do not count as news. Every other
    resample is fitted without the smallest share: a curve that bends away from the power law widens the interval.
    """
    if not trials.image.size:
        return LearningCurve((), n_draws, None, None)
    _, own = np.unique(trials.image, return_inverse=True)
    n_images = int(own.max()) + 1
    wrong, judged = np.zeros((n_images, len(FRACTIONS))), np.bincount(own).astype(np.float64)
    np.add.at(wrong, own, 1.0 - trials.right)
    drawn = np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1.0 / n_images), size=N_RESAMPLES)
    weights = np.concatenate([np.ones((1, n_images)), drawn.astype(np.float64)])
    k, m = weights @ wrong, weights @ judged
    accuracy = 1.0 - k / m[:, None]
    low, high = np.quantile(accuracy[1:], LEVELS, axis=0)
    points = tuple(
        LearningPoint(round(n), float(accuracy[0, i]), float(low[i]), float(high[i]))
        for i, n in enumerate(trials.n_labels)
    )
    sizes = trials.n_labels / trials.n_labels[-1]
    slopes, at_all = _power_law(k, judged=m, sizes=sizes)
    slopes[1::2], at_all[1::2] = _power_law(k[1::2, 1:], judged=m[1::2], sizes=sizes[1:])
    later = 1.0 - at_all * 2.0**-slopes
    gains = later - (1.0 - at_all)
    least, most = (float(v) for v in np.quantile(gains[1:], LEVELS))
    lowest, highest = (float(v) for v in np.quantile(later[1:], LEVELS))
    known = k[0, -1] / m[0] * n_images >= LEAST_ERRORS and least > 0.0
    then = (float(later[0]), lowest, highest)
    more = MoreLabels(points[-1].n_labels, float(gains[0]), least, most, then) if known else None
    return LearningCurve(points, n_draws, float(slopes[0]), more)


def _power_law(k: Array, *, judged: Array, sizes: Array) -> tuple[Array, Array]:
    """Likeliest slope and error with all labels, (R,) each, from wrong answers (R, F); half an error added."""
    slope, at_all = (grid.ravel() for grid in np.meshgrid(SLOPES, ERRORS_AT_ALL, indexing="ij"))
    share = np.clip(at_all[:, None] * sizes[None, :] ** -slope[:, None], 1e-6, 1.0 - 1e-6)  # (G, F)
    errors, n = k + 0.5, judged[:, None] + 1.0
    best = (errors @ np.log(share).T + (n - errors) @ np.log1p(-share).T).argmax(axis=1)
    return slope[best], at_all[best]


def _drawn(support: LabelledFeatures, *, rows: Labels, fraction: float, seed: int) -> Labels:
    """Rows of a share of the source images of every class, at least one; a smaller share is part of a larger."""
    rng = np.random.default_rng([seed, 7])
    taken = []
    for c in range(len(support.classes)):
        own = rows[support.labels[rows] == c]
        images = rng.permutation(np.unique(support.groups[own]))
        taken.append(own[np.isin(support.groups[own], images[: max(1, round(fraction * images.size))])])
    return np.concatenate(taken)
