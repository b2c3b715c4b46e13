"""Each class on its own: precision and recall, the threshold that keeps a label's promise, and who needs labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision.held_out import HeldOut
from pipeline.evaluation.report.comparison import Counted, counted
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

Confident = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class AtTarget:
    """The lowest confidence from which a label was right often enough out of fold, and what it did when judged."""

    threshold: float | None  # None: at no confidence, or no out-of-fold row carries the label
    kept: Counted  # of the label's out-of-fold rows
    held_out: Counted  # right of the kept ones
    sealed: Counted  # right of the sealed rows above the threshold


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class."""

    name: str
    is_good: bool
    n_fit: int  # source images
    n_sealed: int
    precision: Counted  # of the sealed rows with this label, those of this class
    recall: Counted  # of the sealed rows of this class, those with this label
    at_target: AtTarget


@dataclass(frozen=True, slots=True)
class ClassNeed:
    """How much more labels of one class are worth, from out-of-fold rows."""

    name: str
    n_images: int  # it was fitted on
    missed: Counted  # of its out-of-fold rows
    mistaken_for: str | None  # the class most of them went to
    suggested: int  # of the next labels


def per_class(
    probabilities: Float32Array,
    *,
    labels: Labels,
    held_out: HeldOut | None,
    temperature: float,
    shots: Labels,
    sealed_shots: Labels,
    classes: tuple[str, ...],
    good: frozenset[str],
    target: float,
) -> tuple[ClassFigures, ...]:
    """From calibrated probabilities (S, C) of the sealed rows; thresholds from the out-of-fold rows alone."""
    predicted = probabilities.argmax(axis=1)
    known = None if held_out is None else held_out.probabilities(temperature)
    found = []
    for c, name in enumerate(classes):
        right = (predicted == c) & (labels == c)
        fitted = None if held_out is None or known is None else _carrying(known, labels=held_out.labels, c=c)
        found.append(
            ClassFigures(
                name=name,
                is_good=name in good,
                n_fit=int(shots[c]),
                n_sealed=int(sealed_shots[c]),
                precision=counted(int(right.sum()), n=int((predicted == c).sum())),
                recall=counted(int(right.sum()), n=int((labels == c).sum())),
                at_target=at_target(fitted, sealed=_carrying(probabilities, labels=labels, c=c), target=target),
            )
        )
    return tuple(found)


def at_target(fitted: Confident | None, *, sealed: Confident, target: float) -> AtTarget:
    """From confidences (M,) and rightness (M,) of rows with one label: the lowest threshold that meets the target."""
    if fitted is None or not fitted[0].size:
        return AtTarget(None, counted(0, n=0), counted(0, n=0), counted(0, n=0))
    confidence, right = fitted
    order = np.argsort(-confidence, kind="stable")
    enough = np.cumsum(right[order]) >= target * np.arange(1, order.size + 1) - 1e-9
    whole = np.append(np.diff(confidence[order]) < 0, True)  # rows of equal confidence are kept together
    met = np.flatnonzero(enough & whole)
    if not met.size:
        return AtTarget(None, counted(0, n=order.size), counted(0, n=0), counted(0, n=0))
    n_kept = int(met[-1]) + 1
    threshold = 0.0 if n_kept == order.size else float(confidence[order[n_kept - 1]])
    above = sealed[0] >= threshold
    return AtTarget(
        threshold=threshold,
        kept=counted(n_kept, n=order.size),
        held_out=counted(int(right[order[:n_kept]].sum()), n=n_kept),
        sealed=counted(int(sealed[1][above].sum()), n=int(above.sum())),
    )


def class_needs(
    held_out: HeldOut | None, *, shots: Labels, classes: tuple[str, ...], n_more: int
) -> tuple[ClassNeed, ...]:
    """Neediest first: by the upper limit of the share missed, which is large where errors or doubts are many.

    `n_more` labels are shared out in proportion to those limits, by largest remainder.
    """
    labels = np.zeros(0, np.int64) if held_out is None else held_out.labels
    predicted = labels if held_out is None else held_out.logits.argmax(axis=1)
    missed, rivals = [], list[str | None]()
    for c in range(len(classes)):
        lost = predicted[(labels == c) & (predicted != c)]
        missed.append(counted(int(lost.size), n=int((labels == c).sum())))
        rivals.append(classes[int(np.bincount(lost).argmax())] if lost.size else None)
    parts = _shared_out(n_more, weights=[one.high for one in missed])
    order = sorted(range(len(classes)), key=lambda c: -missed[c].high)
    return tuple(ClassNeed(classes[c], int(shots[c]), missed[c], rivals[c], parts[c]) for c in order)


def _carrying(probabilities: Float32Array, *, labels: Labels, c: int) -> Confident:
    """Confidence and rightness of the rows with label c."""
    rows = probabilities.argmax(axis=1) == c
    return probabilities[rows, c].astype(np.float64), labels[rows] == c


def _shared_out(n: int, *, weights: list[float]) -> list[int]:
    total = sum(weights)
    exact = [n * weight / total for weight in weights]
    parts = [math.floor(value) for value in exact]
    for c in sorted(range(len(exact)), key=lambda c: parts[c] - exact[c])[: n - sum(parts)]:
        parts[c] += 1
    return parts
