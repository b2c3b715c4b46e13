"""What a policy is expected to do to 1,000 parts: escapes, overkill, reviews and money, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision.binomial import lower_bound, upper_bound
from pipeline.decision.costs import CostMatrix
from pipeline.decision.policy import ACCEPT, REJECT, REVIEW, UNKNOWN, Codes
from pipeline.decision.probabilities import Array, Labels
from pipeline.errors import DataError
from pipeline.types import Float32Array

PARTS = 1000.0
ONE_SIDED = 0.975  # of each limit: two-sided 95 %


@dataclass(frozen=True, slots=True)
class Estimate:
    """Per 1,000 parts, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Per 1,000 parts of the class mix. A part called unknown costs and counts as a review: a person looks."""

    n_rows: int
    mix: tuple[tuple[str, float], ...]
    escapes: Estimate  # defects accepted
    overkill: Estimate  # good parts rejected
    mix_ups: Estimate  # rejected as the wrong defect, or accepted as the wrong good class
    reviews: Estimate  # unknown included
    unknown: Estimate
    cost: Estimate
    currency: str
    unseen: tuple[str, ...]  # classes of the mix without a held-out row: taken at their worst in `high`


def make_plan(probabilities: Float32Array, *, codes: Codes, labels: Labels, costs: CostMatrix, mix: Array) -> Plan:
    """From probabilities (M, C), verdicts (M,) and truth (M,) of held-out rows, for parts of the class mix (C,).

    Intervals: Clopper & Pearson (1934) per true class, joined by the root of summed squares (MOVER; Zou & Donner,
    2008), so that no escape among few rows does not read as no escape. Raises DataError.
    """
    c, good = len(costs.classes), np.array([name in costs.good_classes for name in costs.classes])
    if not codes.size == labels.size or probabilities.shape != (labels.size, c):
        raise DataError(
            f"plan: expected {labels.size} verdicts and probabilities ({labels.size}, {c}) for as many labels, "
            f"got {codes.size} and {probabilities.shape}"
        )
    looked = (codes == REVIEW) | (codes == UNKNOWN)
    decided = np.where(looked, c, _booked_as(probabilities, codes=codes, good=good))
    counts, n = np.zeros((c, c + 1), np.int64), np.bincount(labels, minlength=c)
    np.add.at(counts, (labels, decided), 1)
    strange = np.bincount(labels[codes == UNKNOWN], minlength=c)[:, None]

    def of(cells: Array) -> Estimate:
        return _joined(counts, n=n, worth=cells, mix=mix)

    to_good, to_bad = np.append(good, False), np.append(~good, False)
    same = np.where(good[:, None], to_good, to_bad) & ~np.eye(c, c + 1, dtype=bool)
    return Plan(
        n_rows=int(labels.size),
        mix=tuple(zip(costs.classes, mix.tolist(), strict=True)),
        escapes=of((~good[:, None] & to_good).astype(np.float64)),
        overkill=of((good[:, None] & to_bad).astype(np.float64)),
        mix_ups=of(same.astype(np.float64)),
        reviews=of(np.tile(np.arange(c + 1) == c, (c, 1)).astype(np.float64)),
        unknown=_joined(strange, n=n, worth=np.ones((c, 1)), mix=mix),
        cost=of(costs.array),
        currency=costs.currency,
        unseen=tuple(name for i, name in enumerate(costs.classes) if mix[i] > 0.0 and not n[i]),
    )


def _booked_as(probabilities: Float32Array, *, codes: Codes, good: npt.NDArray[np.bool_]) -> Labels:
    """(M,) the likeliest class on the side of the verdict, which may not be the likeliest of all."""
    side = np.where((codes == ACCEPT)[:, None], good, np.where((codes == REJECT)[:, None], ~good, True))
    out: Labels = np.where(side, probabilities, np.float32(-1.0)).argmax(axis=1)
    return out


def _joined(counts: Labels, *, n: Labels, worth: Array, mix: Array) -> Estimate:
    """sum_c mix_c sum_d worth_cd share_cd; cells of equal worth in a row count as one share."""
    middle, below, above = 0.0, 0.0, 0.0
    for row, size, values, share in zip(counts, n, worth, mix, strict=True):
        if share <= 0.0:
            continue
        if not size:
            above += (share * float(values.max()) - share * float(values.min())) ** 2
            middle += share * float(values.min())
            continue
        for value in np.unique(values[values > 0.0]):
            k, weight = float(row[values == value].sum()), share * float(value)
            middle += weight * k / size
            below += (weight * (k / size - lower_bound(k, n=float(size), confidence=ONE_SIDED))) ** 2
            above += (weight * (upper_bound(k, n=float(size), confidence=ONE_SIDED) - k / size)) ** 2
    low, high = max(middle - math.sqrt(below), 0.0), middle + math.sqrt(above)
    return Estimate(float(PARTS * middle), float(PARTS * low), float(PARTS * high))
