"""Edits of a text bank without a rebuild: Gram matrix by rank one, class sums by one row.

G = T'T and the sums are additive, so that a text comes or goes in O(D^2), and no image is encoded again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.coding import ClassSums, FloatArray


@dataclass(frozen=True, eq=False)
class TextGram:
    """Second moments of a bank of M texts."""

    gram: FloatArray  # (D, D), T'T
    total: FloatArray  # (D,), sum of the texts
    count: int  # M

    def centred(self) -> FloatArray:
        """(D, D): T'T of the bank less its mean text."""
        out: FloatArray = self.gram - np.outer(self.total, self.total) / self.total.dtype.type(max(1, self.count))
        return out


def text_gram(texts: FloatArray) -> TextGram:
    """From all texts (M, D), O(M D^2)."""
    return TextGram(texts.T @ texts, texts.sum(axis=0), len(texts))


def gram_with(gram: TextGram, *, text: FloatArray) -> TextGram:
    """One text (D,) more, O(D^2)."""
    return TextGram(gram.gram + np.outer(text, text), gram.total + text, gram.count + 1)


def gram_without(gram: TextGram, *, text: FloatArray) -> TextGram:
    """One text (D,) fewer, O(D^2). The caller knows that it is in the bank."""
    if gram.count < 1:
        raise DataError("texts: expected a text to take out, got an empty bank")
    return TextGram(gram.gram - np.outer(text, text), gram.total - text, gram.count - 1)


def sums_with(sums: ClassSums, *, text: FloatArray, class_index: int) -> ClassSums:
    """One attribute or analogy (D,) more in one class, O(D) beside the copies.

    It gets one equal share; the other voters of its class keep their proportions.
    """
    share = 1.0 / (int(sums.n_voters[class_index]) + 1)
    return _reweighted(sums, class_index=class_index, keep=1.0 - share, text=text * share, n_more=1)


def sums_without(sums: ClassSums, *, text: FloatArray, class_index: int, weight: float) -> ClassSums:
    """One attribute or analogy (D,) fewer, of the weight it had; the other voters keep their proportions."""
    if sums.n_voters[class_index] < 2 or not weight < 1.0:
        raise DataError(f"texts: expected another voter of class number {class_index} beside the text to take out")
    keep = 1.0 / (1.0 - weight)
    return _reweighted(sums, class_index=class_index, keep=keep, text=text * (-weight * keep), n_more=-1)


def sums_with_name(sums: ClassSums, *, text: FloatArray, class_index: int, at: int) -> ClassSums:
    """One name or synonym (D,) more, as row `at` of the names; it shares the vote of its class's name."""
    naming = np.insert(sums.naming, at, text, axis=0)
    return dataclasses.replace(sums, naming=naming, naming_class=np.insert(sums.naming_class, at, class_index))


def sums_without_name(sums: ClassSums, *, at: int) -> ClassSums:
    """One name or synonym fewer, by its row. Raises DataError when it is the last one of its class."""
    c = int(sums.naming_class[at])
    if (sums.naming_class == c).sum() < 2:
        raise DataError(f"texts: expected another name of class number {c} beside the one to take out, got none")
    naming = np.delete(sums.naming, at, axis=0)
    return dataclasses.replace(sums, naming=naming, naming_class=np.delete(sums.naming_class, at))


def _reweighted(sums: ClassSums, *, class_index: int, keep: float, text: FloatArray, n_more: int) -> ClassSums:
    described, naming_weight, n_voters = sums.described.copy(), sums.naming_weight.copy(), sums.n_voters.copy()
    described[class_index] = described[class_index] * keep + text
    naming_weight[class_index] *= keep
    n_voters[class_index] += n_more
    return dataclasses.replace(sums, described=described, naming_weight=naming_weight, n_voters=n_voters)


def fold(gram: FloatArray) -> FloatArray:
    """G = L L' (D, D) -> L' (R, D): R <= D rows that code any image with the same inner products as the whole bank.

    <c(x), c(y)> = x' G y = <L'x, L'y>, so that storage and cost no longer depend on the number of texts.
    """
    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * len(values) * np.finfo(gram.dtype).eps
    rows: FloatArray = (vectors[:, kept] * np.sqrt(values[kept])).T
    return np.ascontiguousarray(rows)
