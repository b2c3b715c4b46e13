"""The CODER heads a line can run: the text classifier with its rerank, and the few-shot adapter on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.adapter import adapter_logits, affinities, row_min_max, unit_code
from pipeline.heads.coder.coding import (
    PUBLISHED_SCALE,
    ClassSums,
    ClassVectors,
    FloatArray,
    Form,
    TextRows,
    class_sums,
    class_vectors,
    code,
    heuristic_scores,
    uniform_weights,
)
from pipeline.heads.coder.gram import TextGram, fold
from pipeline.heads.coder.neighbours import neighbour_scores
from pipeline.heads.coder.rerank import PairVectors, added_scores, pair_evidence, replaced_scores
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Scores


@dataclass(frozen=True, eq=False)
class CoderHead:
    """CODER's zero-shot classifier and one-to-one rerank (Yi et al., CVPR 2024, sections 3.2 and 3.3).

    Published: mean of cosines, and below `theta` stage 2 replaces stage 1. Corrected: unit class vectors less their
    mean, one-to-one margins added with weight `gamma`. `zero_shot` of the scores is stage 1, `confusion` what stage 2
    took off.
    """

    classes: tuple[str, ...]
    texts: TextRows
    weights: FloatArray  # (M,)
    sums: ClassSums
    form: Form = Form.CORRECTED
    scale: float = PUBLISHED_SCALE
    pairs: PairVectors | None = None
    theta: float = 0.0  # published; 0 never triggers
    gamma: float = 0.0  # corrected; 0 leaves the one-to-one texts to the explanation
    top_k: int | None = None  # corrected: only the K nearest texts vote
    sentences: tuple[str, ...] = ()  # M, what the texts say; for the explanation
    mean_code: FloatArray | None = None  # (M,), of the support images; for the explanation
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "coder"

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    @cached_property
    def vectors(self) -> ClassVectors:
        """One vector per name or synonym."""
        return class_vectors(self.sums, form=self.form)

    def stage1(self, image: FloatArray) -> FloatArray:
        """(B, D) -> (B, C) scores of the heuristic classifier."""
        if self.form is Form.CORRECTED and self.top_k is not None:
            return neighbour_scores(image, texts=self.texts, weights=self.weights, k=self.top_k, scale=self.scale)
        return heuristic_scores(image, classes=self.vectors, scale=self.scale)

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C)."""
        image: FloatArray = features.image
        stage1 = self.stage1(image)
        logits = stage1.copy() if self.pairs is None else self._stage2(image, stage1=stage1, pairs=self.pairs)
        far = None if self.novelty is None else self.novelty.score(features.image)
        logits = logits.astype(image.dtype, copy=False)  # one-to-one texts may be in another precision
        confusion: FloatArray = stage1 - logits
        return Scores(zero_shot=stage1, confusion=confusion, logits=logits, novelty=far)

    def _stage2(self, image: FloatArray, *, stage1: FloatArray, pairs: PairVectors) -> FloatArray:
        if self.form is Form.PUBLISHED:
            evidence = pair_evidence(image, stage1=stage1, pairs=pairs)
            return replaced_scores(stage1, evidence=evidence, theta=self.theta)
        if self.gamma == 0.0:
            return stage1.copy()
        return added_scores(stage1, evidence=pair_evidence(image, stage1=stage1, pairs=pairs), gamma=self.gamma)


def make_coder_head(
    texts: TextRows,
    *,
    classes: tuple[str, ...],
    weights: FloatArray | None = None,
    form: Form = Form.CORRECTED,
    scale: float = PUBLISHED_SCALE,
    pairs: PairVectors | None = None,
    sentences: tuple[str, ...] = (),
    image: FloatArray | None = None,
) -> CoderHead:
    """The head from all texts; weights as `uniform_weights` where none are given.

    `image` (n, D), labelled or not, are the parts a text has to stand out from in the explanation.
    """
    if len(classes) != texts.n_classes or len(sentences) not in (0, len(texts.vectors)):
        raise DataError(
            f"coder head: expected {texts.n_classes} classes and {len(texts.vectors)} sentences, "
            f"got {len(classes)} and {len(sentences)}"
        )
    weights = uniform_weights(texts) if weights is None else weights
    return CoderHead(
        classes=classes,
        texts=texts,
        weights=weights,
        sums=class_sums(texts, weights=weights),
        form=form,
        scale=scale,
        pairs=pairs,
        sentences=sentences,
        mean_code=None if image is None else code(image, bank=texts.vectors).mean(axis=0),
    )


@dataclass(frozen=True, eq=False)
class CoderAdapterHead:
    """CODER-Adapter (Yi et al., CVPR 2024, section 3.4): prior + alpha * sum of exp(-beta (1 - a)) over support images.

    Published: codes of the bank as it is, affinities stretched to 0..1 by row. Corrected: codes of the bank less its
    mean text, affinities as they are, so that an image like nothing known gets no vote. `zero_shot` of the scores is
    the prior, `confusion` minus what the support images add.
    """

    prior: CoderHead
    gram: TextGram
    key_image: FloatArray  # (n, D), unit rows
    key_class: Labels  # (n,)
    alpha: float
    beta: float
    form: Form = Form.CORRECTED
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "coder_adapter"

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the prior."""
        return self.prior.classes

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    @cached_property
    def folded(self) -> FloatArray:
        """(R, D), R <= D: the whole bank as far as inner products of codes go."""
        gram = self.gram.gram if self.form is Form.PUBLISHED else self.gram.centred()
        return fold(gram).astype(self.key_image.dtype)

    @cached_property
    def key_code(self) -> FloatArray:
        """(n, R) unit codes of the support images."""
        return unit_code(self.key_image, bank=self.folded)

    def affinity(self, image: FloatArray) -> FloatArray:
        """(B, D) -> (B, n), as the cache uses it."""
        raw = affinities(unit_code(image, bank=self.folded), key_codes=self.key_code)
        return row_min_max(raw) if self.form is Form.PUBLISHED else raw

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C)."""
        base = self.prior.score(features).logits
        logits = adapter_logits(
            base, affinity=self.affinity(features.image), key_class=self.key_class, alpha=self.alpha, beta=self.beta
        )
        far = None if self.novelty is None else self.novelty.score(features.image)
        logits = logits.astype(base.dtype, copy=False)  # so may the bank
        confusion: FloatArray = base - logits
        return Scores(zero_shot=base, confusion=confusion, logits=logits, novelty=far)


def support_votes(head: CoderAdapterHead, *, image: FloatArray) -> FloatArray:
    """(B, n): what each support image adds to the logit of its class."""
    affinity = head.affinity(image)
    out: FloatArray = affinity.dtype.type(head.alpha) * np.exp(-affinity.dtype.type(head.beta) * (1 - affinity))
    return out
