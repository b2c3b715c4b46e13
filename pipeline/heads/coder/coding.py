"""CODER's coding and its heuristic classifier (Yi et al., CVPR 2024, arXiv 2404.17753), published and corrected.

A class is told by its texts; an image by its cosines to all of them. Apart from the choice of the best name the
classifier is linear, so that whatever the number of texts it costs one vector per name.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.heads.whitening import Labels

FloatArray = npt.NDArray[np.floating]

PUBLISHED_SCALE = 100.0  # of the cosine; CLIP's own logit scale


class Form(enum.StrEnum):
    """Which arithmetic: the paper's code to the letter, or what a line should run."""

    PUBLISHED = "published"
    CORRECTED = "corrected"


class Kind(enum.IntEnum):
    """What a text says about its class; also the order of the texts inside a class."""

    ATTRIBUTE = 0
    ANALOGOUS = 1
    NAME = 2
    SYNONYM = 3


@dataclass(frozen=True, eq=False)
class TextRows:
    """All texts of all classes, class after class ("bank"); every class has at least one name or synonym."""

    vectors: FloatArray  # (M, D), unit rows
    class_of: Labels  # (M,), ascending
    kind_of: Labels  # (M,), values of Kind
    n_classes: int

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors) == len(self.class_of) == len(self.kind_of):
            got = f"{self.vectors.shape}, {self.class_of.shape}, {self.kind_of.shape}"
            raise DataError(f"texts: expected (M, D) vectors with M classes and M kinds, got {got}")
        unnamed = sorted(set(range(self.n_classes)) - set(self.class_of[self.naming].tolist()))
        if unnamed:
            raise DataError(f"texts: expected a name for every class, got none for class numbers {unnamed}")

    @property
    def naming(self) -> Labels:
        """(P,) rows that are a name or a synonym: together one voter of their class."""
        return np.flatnonzero(self.kind_of >= Kind.NAME)

    @property
    def n_voters(self) -> Labels:
        """(C,) attributes and analogies of the class, and one for its name and synonyms."""
        described = self.class_of[self.kind_of < Kind.NAME]
        return np.bincount(described, minlength=self.n_classes).astype(np.int64) + 1

    def without(self, *kinds: Kind) -> TextRows:
        """The same texts but those of some kinds."""
        keep = ~np.isin(self.kind_of, kinds)
        return TextRows(self.vectors[keep], self.class_of[keep], self.kind_of[keep], self.n_classes)


def unit(x: FloatArray) -> FloatArray:
    """Rows at length one, in the precision they come in; a row of zeros stays zero."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    out: FloatArray = x / np.maximum(norms, np.finfo(x.dtype).tiny)
    return out


def text_rows(parts: Sequence[tuple[Kind, FloatArray, Labels]], *, n_classes: int) -> TextRows:
    """Kinds with their vectors (., D) and class numbers (.,) -> one bank, class after class, in the order of Kind."""
    vectors = np.concatenate([vectors for _, vectors, _ in parts])
    class_of = np.concatenate([classes for _, _, classes in parts])
    kind_of = np.concatenate([np.full(len(classes), int(kind), dtype=np.int64) for kind, _, classes in parts])
    order = np.lexsort((kind_of, class_of))  # stable: texts of one kind stay in the order they came
    return TextRows(unit(vectors[order]), class_of[order], kind_of[order], n_classes)


def code(image: FloatArray, *, bank: FloatArray) -> FloatArray:
    """General coding, section 3.1: (B, D) images of any length -> (B, M) cosines to all texts."""
    out: FloatArray = unit(image) @ bank.T
    return out


def uniform_weights(texts: TextRows) -> FloatArray:
    """(M,) of a text: 1 / voters of its class; names and synonyms all carry the weight of their one voter."""
    weights: FloatArray = (1.0 / texts.n_voters)[texts.class_of]
    return weights


@dataclass(frozen=True, eq=False)
class ClassSums:
    """The texts of each class, added up in double: all that class vectors need, and what an edit of a text changes."""

    described: FloatArray  # (C, D), sum of weight times text over attributes and analogies
    naming_weight: FloatArray  # (C,), weight of the one voter that name and synonyms are
    n_voters: Labels  # (C,)
    naming: FloatArray  # (P, D), names and synonyms, unit rows
    naming_class: Labels  # (P,), ascending, every class at least once


def class_sums(texts: TextRows, *, weights: FloatArray | None = None) -> ClassSums:
    """Weights (M,), of a class's voters together 1; without them all voters of a class count the same."""
    weights = uniform_weights(texts) if weights is None else weights
    described = np.zeros((texts.n_classes, texts.vectors.shape[1]))
    rows = np.flatnonzero(texts.kind_of < Kind.NAME)
    np.add.at(described, texts.class_of[rows], texts.vectors[rows] * weights[rows, None].astype(np.float64))
    naming, naming_weight = texts.naming, np.zeros(texts.n_classes)
    naming_weight[texts.class_of[naming]] = weights[naming]
    vectors = texts.vectors[naming].astype(np.float64)
    return ClassSums(described, naming_weight, texts.n_voters, vectors, texts.class_of[naming])


@dataclass(frozen=True, eq=False)
class ClassVectors:
    """One vector per name or synonym, in double; a class scores with the best of its own."""

    vectors: FloatArray  # (P, D)
    class_of: Labels  # (P,), ascending, every class at least once
    lengths: FloatArray  # (P,), what the weighted sum of texts was divided by
    centre: FloatArray  # (D,), what was taken off afterwards


def class_vectors(sums: ClassSums, *, form: Form = Form.CORRECTED) -> ClassVectors:
    """The linear form of the heuristic classifier: sum of weight times text, once with each name (section 3.2).

    Published: the plain mean, whose length is a hidden prior for classes with tight texts. Corrected: unit length,
    less the mean of all classes, so that what all classes share adds nothing.
    """
    class_of = sums.naming_class
    vectors = sums.described[class_of] + sums.naming_weight[class_of, None] * sums.naming
    if form is Form.PUBLISHED:
        return ClassVectors(vectors, class_of, np.ones_like(vectors[:, 0]), np.zeros_like(vectors[0]))
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(vectors.dtype).tiny)
    vectors = vectors / lengths[:, None]
    centre = mean_by_class(vectors, class_of=class_of, n_classes=len(sums.described)).mean(axis=0)
    return ClassVectors(vectors - centre, class_of, lengths, centre)


def mean_by_class(rows: FloatArray, *, class_of: Labels, n_classes: int) -> FloatArray:
    """(P, D) -> (C, D); every class has a row."""
    sums = np.zeros((n_classes, rows.shape[1]), dtype=rows.dtype)
    np.add.at(sums, class_of, rows)
    out: FloatArray = sums / np.bincount(class_of, minlength=n_classes)[:, None].astype(rows.dtype)
    return out


def best_of_class(values: FloatArray, *, class_of: Labels) -> FloatArray:
    """(B, P) -> (B, C): the largest value of each class; `class_of` ascends and leaves out no class."""
    starts = np.flatnonzero(np.diff(class_of, prepend=-1))
    out: FloatArray = np.maximum.reduceat(values, starts, axis=1)
    return out


def heuristic_scores(image: FloatArray, *, classes: ClassVectors, scale: float = PUBLISHED_SCALE) -> FloatArray:
    """scale * weighted mean of {each attribute, each analogy, best of name and synonyms}: (B, D) -> (B, C).

    Added up in double, in the precision of `image` on the way out: the scale is hundred times the rounding.
    """
    scores = scale * code(image.astype(np.float64), bank=classes.vectors)
    return best_of_class(scores, class_of=classes.class_of).astype(image.dtype)


def placeholder_synonyms(texts: TextRows, *, placeholder: FloatArray) -> TextRows:
    """Every synonym replaced by one constant text (D,), as the released code does by mixing up two slots."""
    vectors = texts.vectors.copy()
    vectors[texts.kind_of == Kind.SYNONYM] = unit(placeholder)
    return TextRows(vectors, texts.class_of, texts.kind_of, texts.n_classes)
