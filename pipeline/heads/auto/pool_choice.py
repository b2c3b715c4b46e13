"""Which unlabelled frames go into the pool, and whether they cover the classes at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.heads.simple.kernel_ridge import fit_kernel_ridge
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import Labels, class_means
from pipeline.types import Features, Float32Array

PER_CLASS = 160  # rows kept per predicted class, evenly spaced in time; more would only cost
MOST = 2.0  # times the median class: rows kept of a predicted class, so that the pool is balanced by what is seen
ENOUGH = 4.0  # rows of a predicted class that count as found, however small the pool
PORTION = 0.5  # of an even share of the pool: a class with at least that many predicted rows counts as found
MIN_COVERAGE = 0.75  # below it a pool is ignored: real pools had .83 to 1, five classes or one with a row each below .5
FULL_COVERAGE = 0.85
NOVEL_QUANTILE = 0.95  # of the labelled rows' distance to the nearest other class
NOVEL_MARGIN = 1.06  # at 1.0 up to 8 % of the known rows went too


@dataclass(frozen=True, eq=False)
class PoolChoice:
    """Rows of the offered pool, ascending, and how well they cover the classes."""

    rows: Labels  # (M,)
    coverage: float
    n_novel: int


def trust(coverage: float) -> float:
    """0 at the coverage below which a pool is ignored, 1 from full coverage on."""
    return float(np.clip((coverage - MIN_COVERAGE) / (FULL_COVERAGE - MIN_COVERAGE), 0.0, 1.0))


def choose_pool(
    image: Float32Array, *, labels: Labels, n_classes: int, pool: Float32Array, text: ZeroShotHead | None = None
) -> PoolChoice:
    """Drops rows near no class, balances the rest over predicted classes, and measures the coverage.

    `image` (N, D) labelled rows, `pool` (M, D) in the order of time. Predictions are kernel ridge's, from the labelled
    rows alone. Coverage is the mean over classes of min(1, rows predicted / max(4, half of an even share)).
    """
    if not pool.shape[0]:
        return PoolChoice(rows=np.zeros(0, np.int64), coverage=0.0, n_novel=0)
    familiar = np.flatnonzero(~novel(image, labels=labels, n_classes=n_classes, pool=pool))
    classes = text.classes if text is not None else tuple(map(str, range(n_classes)))
    head = fit_kernel_ridge(
        Features(image=image), labels=labels, groups=np.arange(labels.size), classes=classes, text=text
    )
    predicted = head.score(Features(image=pool[familiar])).logits.argmax(axis=1)
    counts = np.bincount(predicted, minlength=n_classes)
    portion = max(ENOUGH, PORTION * familiar.size / n_classes)
    coverage = float(np.minimum(1.0, counts / portion).mean())
    most = min(PER_CLASS, math.ceil(max(ENOUGH, MOST * float(np.median(counts)))))
    kept = [_spaced(familiar[predicted == c], most=most) for c in range(n_classes)]
    return PoolChoice(rows=np.sort(np.concatenate(kept)), coverage=coverage, n_novel=int(pool.shape[0] - familiar.size))


def novel(image: Float32Array, *, labels: Labels, n_classes: int, pool: Float32Array) -> npt.NDArray[np.bool_]:
    """(M,) rows farther from every class mean than nearly all labelled rows are from the nearest *other* class.

    Distances are 1 - cosine of centred rows. A row that is no nearer to any class than known parts are to classes
    they do not belong to shows nothing known.
    """
    centre = image.mean(axis=0)
    means = class_means(image.astype(np.float64), labels=labels, n_classes=n_classes).astype(np.float32)
    directions = unit_rows(means - centre)
    others = 1.0 - unit_rows(image - centre) @ directions.T
    others[np.arange(labels.size), labels] = np.inf
    limit = NOVEL_MARGIN * float(np.quantile(others.min(axis=1), NOVEL_QUANTILE))
    nearest = (1.0 - unit_rows(pool - centre) @ directions.T).min(axis=1)
    return np.asarray(nearest > limit)


def _spaced(rows: Labels, *, most: int) -> Labels:
    """At most so many of the rows, evenly spaced."""
    if rows.size <= most:
        return rows
    return rows[np.linspace(0, rows.size - 1, most).round().astype(np.int64)]
