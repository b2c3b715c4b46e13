"""What each text is worth on labelled images: accuracy and likelihood with it and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.heads.calibration import fit_temperature, log_softmax
from pipeline.heads.coder.coding import FloatArray, Kind, TextRows, class_sums, class_vectors, heuristic_scores, unit
from pipeline.heads.coder.gram import sums_without, sums_without_name
from pipeline.heads.folds import make_folds
from pipeline.heads.whitening import Labels

Float64 = npt.NDArray[np.float64]
HARM_ERRORS = 2.0  # standard errors; at one, every sixth of a hundred good texts would be called harmful
TEMPERATURE_SPREAD = 1.5  # of log T: the texts as they are, at their own best temperature


@dataclass(frozen=True, slots=True)
class Utility:
    """One text (row of the bank), left out: paired differences over the labelled rows."""

    row: int
    accuracy_without: float  # difference in accuracy; above 0 the text does harm
    standard_error: float
    nll_without: float  # difference in negative log likelihood, nats; below 0 the text does harm

    @property
    def harmful(self) -> bool:
        """Accuracy rises without it by more than chance would have it for one text in fifty."""
        return self.accuracy_without > HARM_ERRORS * self.standard_error


@dataclass(frozen=True, slots=True)
class Pruning:
    """Harmful texts found on some folds and left out on the others: what leaving them out is worth."""

    n_judged: int
    accuracy_with: float
    accuracy_without: float


def text_utilities(image: FloatArray, *, labels: Labels, texts: TextRows, scale: float) -> tuple[Utility, ...]:
    """(n, D) and their class numbers -> one entry per text that could be left out, in the order of the bank.

    Nothing is fitted to the rows but one temperature, so that none needs to be held out.
    """
    v: Float64 = unit(image.astype(np.float64)).astype(np.float64)
    sums = class_sums(texts)
    vectors = class_vectors(sums)
    base = heuristic_scores(v, classes=vectors, scale=scale)
    temperature = fit_temperature(base.astype(np.float32), labels=labels, prior_spread=TEMPERATURE_SPREAD)
    before = _judged(base, labels=labels, temperature=temperature)
    off = scale * (v @ vectors.centre)
    out = []
    for row in range(len(texts.vectors)):
        column = _column_without(row, texts=texts, image=v)
        if column is None:
            continue
        scores = base.copy()
        scores[:, texts.class_of[row]] = scale * column - off
        right, loss = _judged(scores, labels=labels, temperature=temperature)
        difference = right - before[0]
        error = float(difference.std() / np.sqrt(max(1, labels.size - 1)))
        out.append(Utility(row, float(difference.mean()), error, float((loss - before[1]).mean())))
    return tuple(out)


def _column_without(row: int, *, texts: TextRows, image: Float64) -> Float64 | None:
    """(n,) best cosine to the class of a text once the text is gone; None for the last name of a class."""
    c, kind = int(texts.class_of[row]), int(texts.kind_of[row])
    own = np.flatnonzero(texts.class_of == c)
    alone = TextRows(texts.vectors[own], np.zeros_like(own), texts.kind_of[own], 1)
    sums, at = class_sums(alone), int(np.flatnonzero(own == row)[0])
    if kind < Kind.NAME:
        weight = 1.0 / int(sums.n_voters[0])
        sums = sums_without(sums, text=alone.vectors[at].astype(np.float64), class_index=0, weight=weight)
    elif len(sums.naming) > 1:
        sums = sums_without_name(sums, at=int((alone.kind_of[:at] >= Kind.NAME).sum()))
    else:
        return None
    vectors = class_vectors(sums)
    out: Float64 = (image @ (vectors.vectors + vectors.centre).T).max(axis=1)
    return out


def _judged(scores: FloatArray, *, labels: Labels, temperature: float) -> tuple[Float64, Float64]:
    """Per row: right or not, and its loss."""
    rows = np.arange(labels.size)
    scaled: FloatArray = scores / temperature
    losses: Float64 = -log_softmax(scaled)[rows, labels].astype(np.float64)
    return (scores.argmax(axis=1) == labels).astype(np.float64), losses


def without_rows(texts: TextRows, *, rows: Sequence[int]) -> TextRows:
    """The bank less some texts."""
    keep = ~np.isin(np.arange(len(texts.vectors)), rows)
    return TextRows(texts.vectors[keep], texts.class_of[keep], texts.kind_of[keep], texts.n_classes)


def judge_pruning(
    image: FloatArray, *, labels: Labels, groups: Labels, texts: TextRows, scale: float, seed: int = 0
) -> Pruning | None:
    """Leave out what harms the other folds, count on the held-out one; None where nothing can be held out."""
    folds = make_folds(labels, groups=groups, n_classes=texts.n_classes, seed=seed)
    judged = folds.judged
    if judged.size == 0:
        return None
    full = heuristic_scores(image, classes=class_vectors(class_sums(texts)), scale=scale).argmax(axis=1)
    pruned = full.copy()
    for fold in range(folds.n_folds):
        kept, held_out = folds.kept(fold), folds.held_out(fold)
        found = text_utilities(image[kept], labels=labels[kept], texts=texts, scale=scale)
        rows = [utility.row for utility in found if utility.harmful]
        classes = class_vectors(class_sums(without_rows(texts, rows=_spared(rows, texts=texts))))
        pruned[held_out] = heuristic_scores(image[held_out], classes=classes, scale=scale).argmax(axis=1)
    y = labels[judged]
    return Pruning(judged.size, float((full[judged] == y).mean()), float((pruned[judged] == y).mean()))


def _spared(rows: Sequence[int], *, texts: TextRows) -> list[int]:
    """The same rows, but where they are all names of a class the first of these stays."""
    out = list(rows)
    for c in range(texts.n_classes):
        names = [int(j) for j in texts.naming if texts.class_of[j] == c]
        if all(j in out for j in names):
            out.remove(names[0])
    return out
