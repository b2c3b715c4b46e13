"""Why a CODER head decided: texts, one-to-one texts and support images with contributions that add up to the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.coding import FloatArray, Form, Kind, code, unit
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, support_votes
from pipeline.heads.coder.neighbours import neighbour_votes
from pipeline.types import Features

TOP_K = 5  # texts shown per class


@dataclass(frozen=True, slots=True)
class TextContribution:
    """One text that spoke for its class; logit units, less what it says about every part."""

    row: int  # in the bank
    text: str
    kind: Kind
    cosine: float
    contribution: float


@dataclass(frozen=True, slots=True)
class SupportContribution:
    """One support image that spoke for its class; logit units."""

    row: int  # in the support set
    affinity: float
    contribution: float


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """Everything that made one class's logit: texts + other_texts + generic + one_to_one + support + other_support."""

    name: str
    logit: float
    texts: tuple[TextContribution, ...]  # largest contributions first
    other_texts: float  # sum of those not listed
    generic: float  # what the texts of the class say about every part, and what is taken off all classes alike
    one_to_one: float  # what the second stage added
    support: tuple[SupportContribution, ...] = ()
    other_support: float = 0.0

    @property
    def total(self) -> float:
        """The logit again, from its parts."""
        texts = sum(item.contribution for item in self.texts) + self.other_texts
        support = sum(item.contribution for item in self.support) + self.other_support
        return texts + self.generic + self.one_to_one + support


@dataclass(frozen=True, slots=True)
class CoderExplanation:
    """Winner against rival; margin = winner.total - rival.total."""

    winner: ClassEvidence
    rival: ClassEvidence

    @property
    def margin(self) -> float:
        """Winner minus rival, logit units."""
        return self.winner.logit - self.rival.logit


@dataclass(frozen=True, eq=False)
class _Row:
    """One image, every text's share of its class's stage-1 score."""

    shares: FloatArray  # (M,), float64
    cosines: FloatArray  # (M,)
    generic: FloatArray  # (M,), the part of a share that every part of the line gets
    off: float  # taken off all classes alike


def explain(head: CoderHead | CoderAdapterHead, *, image: FloatArray, top_k: int = TOP_K) -> CoderExplanation:
    """One image (D,): the two best classes and what spoke for each.

    Where the head has a mean code, a text counts for what it says beyond what it says about every part, so that generic
    texts do not always rank first; sums are unchanged. The head scores in the precision of `image`, parts are added up
    in double.
    """
    prior = head.prior if isinstance(head, CoderAdapterHead) else head
    if len(prior.sentences) != len(prior.texts.vectors) or len(prior.classes) < 2:
        raise DataError(
            f"explanation: expected two classes and {len(prior.texts.vectors)} sentences in the head, "
            f"got {len(prior.classes)} and {len(prior.sentences)}; make it with the sentences of its bank"
        )
    v = image[None, :]
    scores = head.score(Features(image=v))
    order = np.argsort(-scores.logits[0], kind="stable")
    row = _row(prior, image=v)
    stage1, prior_logits = prior.stage1(v)[0], prior.score(Features(image=v)).logits[0]
    evidence = []
    for c in order[:2].tolist():
        texts = _texts(prior, row=row, class_index=c, top_k=top_k)
        support, rest = _support(head, image=v, class_index=c, top_k=top_k)
        own = np.flatnonzero(prior.texts.class_of == c)
        generic = float(row.generic[own].sum()) - row.off
        listed = sum(t.contribution for t in texts)
        other = float((row.shares[own] - row.generic[own]).sum()) - listed
        logit, second = float(scores.logits[0, c]), float(prior_logits[c]) - float(stage1[c])
        evidence.append(ClassEvidence(prior.classes[c], logit, texts, other, generic, second, support, rest))
    return CoderExplanation(*evidence)


def _row(head: CoderHead, *, image: FloatArray) -> _Row:
    """Shares of all texts in stage 1; a name that is not the best of its class has none."""
    texts, weights = head.texts, head.weights.astype(np.float64)
    v = unit(image.astype(np.float64))
    cosines = code(v, bank=texts.vectors.astype(np.float64))[0]
    if head.form is Form.CORRECTED and head.top_k is not None:
        votes = neighbour_votes(image, texts=texts, weights=head.weights, k=head.top_k)[0].astype(np.float64)
        return _Row(votes * head.scale, cosines, np.zeros_like(cosines), 0.0)
    chosen = _chosen_names(head, image=v)
    speaks = (texts.kind_of < Kind.NAME) | np.isin(np.arange(len(weights)), texts.naming[chosen])
    factor = np.where(speaks, head.scale * weights / head.vectors.lengths.astype(np.float64)[chosen][texts.class_of], 0)
    mean = np.zeros_like(cosines) if head.mean_code is None else head.mean_code.astype(np.float64)
    off = head.scale * float(v[0] @ head.vectors.centre.astype(np.float64))
    return _Row(factor * cosines, cosines, factor * mean, off)


def _chosen_names(head: CoderHead, *, image: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(C,) row of the class vectors that gave each class its score."""
    values = (image @ head.vectors.vectors.astype(np.float64).T)[0]
    class_of = head.vectors.class_of
    starts = np.flatnonzero(np.diff(class_of, prepend=-1))
    ends = np.append(starts[1:], len(class_of))
    return np.array([a + int(values[a:b].argmax()) for a, b in zip(starts, ends, strict=True)], dtype=np.int64)


def _texts(head: CoderHead, *, row: _Row, class_index: int, top_k: int) -> tuple[TextContribution, ...]:
    own = np.flatnonzero((head.texts.class_of == class_index) & (row.shares != 0))
    contribution = row.shares - row.generic
    best = own[np.argsort(-contribution[own], kind="stable")[:top_k]]
    return tuple(
        TextContribution(
            j, head.sentences[j], Kind(int(head.texts.kind_of[j])), float(row.cosines[j]), float(contribution[j])
        )
        for j in best.tolist()
    )


def _support(
    head: CoderHead | CoderAdapterHead, *, image: FloatArray, class_index: int, top_k: int
) -> tuple[tuple[SupportContribution, ...], float]:
    """The support images of the class that count most, and the sum of its others."""
    if isinstance(head, CoderHead):
        return (), 0.0
    affinity, votes = head.affinity(image)[0], support_votes(head, image=image)[0].astype(np.float64)
    own = np.flatnonzero(head.key_class == class_index)
    best = own[np.argsort(-votes[own], kind="stable")[:top_k]]
    listed = tuple(SupportContribution(i, float(affinity[i]), float(votes[i])) for i in best.tolist())
    return listed, float(votes[own].sum() - votes[best].sum())
