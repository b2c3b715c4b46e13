"""Small made-up banks of texts and images for the tests of the CODER heads."""

from __future__ import annotations

import numpy as np

from pipeline.heads.coder.coding import Form, Kind, TextRows, text_rows, unit
from pipeline.heads.coder.gram import text_gram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.heads.coder.rerank import PairVectors, pair_vectors

D = 16
CLASSES = ("ok", "scratch", "dent", "stain")
SYNONYMS = {1: 2, 3: 1}  # of class: how many
ATTRIBUTES = {0: 3, 1: 2, 2: 4}
ANALOGOUS = {0: 1, 2: 2, 3: 2}


def unit_rows(n: int, *, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, D)) + 0.5)


def bank() -> TextRows:
    """Class 3 has no attributes, class 1 no analogies, classes 0 and 2 no synonyms."""
    counts = {Kind.NAME: dict.fromkeys(range(4), 1), Kind.SYNONYM: SYNONYMS}
    counts |= {Kind.ATTRIBUTE: ATTRIBUTES, Kind.ANALOGOUS: ANALOGOUS}
    parts = []
    for kind, per_class in counts.items():
        classes = np.repeat(list(per_class), list(per_class.values()))
        parts.append((kind, unit_rows(len(classes), seed=int(kind)), classes))
    return text_rows(parts, n_classes=4)


def images(n: int = 12, *, seed: int = 7) -> np.ndarray:
    """Not of unit length: coding is about directions."""
    return 3.0 * unit_rows(n, seed=seed)


def all_pairs(*, seed: int = 11) -> PairVectors:
    of = np.array([(i, j) for i in range(4) for j in range(4) if i != j for _ in range(2)])
    return pair_vectors(unit_rows(len(of), seed=seed), pair_of=of, n_classes=4)


def head(
    form: Form = Form.CORRECTED, *, pairs: PairVectors | None = None, image: np.ndarray | None = None
) -> CoderHead:
    texts = bank()
    sentences = tuple(f"text {j}" for j in range(len(texts.vectors)))
    return make_coder_head(texts, classes=CLASSES, form=form, pairs=pairs, sentences=sentences, image=image)


def adapter(form: Form = Form.CORRECTED, *, alpha: float = 2.0, beta: float = 3.0) -> CoderAdapterHead:
    keys = unit(images(10, seed=21))
    return CoderAdapterHead(
        prior=head(form, image=keys),
        gram=text_gram(bank().vectors),
        key_image=keys,
        key_class=np.arange(10) % 4,
        alpha=alpha,
        beta=beta,
        form=form,
    )
