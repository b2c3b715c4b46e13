"""Escapes, overkill, mix-ups and reviews: among the sealed images, and per 1,000 parts in money."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.decision.costs import CostMatrix
from pipeline.decision.plan import Plan, make_plan
from pipeline.decision.policy import ACCEPT, REJECT, Codes
from pipeline.decision.probabilities import Array
from pipeline.evaluation.report.comparison import Counted, counted
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array


@dataclass(frozen=True, slots=True)
class Damage:
    """One way of deciding, on the sealed images."""

    way: str  # before | after | reviewed
    escapes: Counted  # of the defects
    overkill: Counted  # of the good parts
    reviews: Counted  # of all
    plan: Plan  # per 1,000 parts of the class mix


@dataclass(frozen=True, slots=True)
class StatedCosts:
    """What one part costs, least and most over the pairs of classes it covers."""

    escape: tuple[float, float]
    overkill: tuple[float, float]
    mix_up: tuple[float, float]
    review: tuple[float, float]
    currency: str


def stated_costs(costs: CostMatrix) -> StatedCosts:
    """The four kinds of cost in a matrix."""
    good = np.array([name in costs.good_classes for name in costs.classes])
    cells, review = costs.array[:, :-1], costs.array[:, -1]
    same = (good[:, None] == good[None, :]) & ~np.eye(good.size, dtype=bool)

    def of(values: Array) -> tuple[float, float]:
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    return StatedCosts(
        escape=of(cells[~good][:, good]),
        overkill=of(cells[good][:, ~good]),
        mix_up=of(cells[same]),
        review=of(review),
        currency=costs.currency,
    )


def without_reviews(costs: CostMatrix) -> CostMatrix:
    """Where nobody looks, no review can cost anything, not even in an upper limit."""
    array = costs.array.copy()
    array[:, -1] = 0.0
    return replace(costs, array=array)


def damage_of(
    way: str, *, probabilities: Float32Array, codes: Codes, labels: Labels, costs: CostMatrix, mix: Array
) -> Damage:
    """From probabilities (S, C), verdicts (S,) and truth (S,) of the sealed rows."""
    good = np.array([name in costs.good_classes for name in costs.classes])[labels]
    looked = (codes != ACCEPT) & (codes != REJECT)
    return Damage(
        way=way,
        escapes=counted(int((~good & (codes == ACCEPT)).sum()), n=int((~good).sum())),
        overkill=counted(int((good & (codes == REJECT)).sum()), n=int(good.sum())),
        reviews=counted(int(looked.sum()), n=int(labels.size)),
        plan=make_plan(probabilities, codes=codes, labels=labels, costs=costs, mix=mix),
    )


def by_label(logits: Float32Array, *, costs: CostMatrix) -> Codes:
    """(n,) verdicts where the likeliest class alone decides and nobody looks."""
    good = np.array([name in costs.good_classes for name in costs.classes])
    return np.where(good[logits.argmax(axis=1)], ACCEPT, REJECT).astype(np.int8)
