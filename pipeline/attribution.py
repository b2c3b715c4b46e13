"""A margin shared out to single texts and labelled images: what was multiplied, or, where nothing was, by likeness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.heads.auto.blend import BlendHead
from pipeline.heads.bundles.evidence import Evidence, SupportIndex, TextIndex
from pipeline.heads.coder import explain as coder_explain
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.deconfusion.head import DeconfusionHead
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead
from pipeline.heads.fitted import AnyHead
from pipeline.heads.mixed_prior import AnyPrior, MixedPrior
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.kernel_heads import KernelHead, kernel
from pipeline.heads.simple.prototype import PrototypeHead
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features, Float32Array

Array = npt.NDArray[np.float64]

SHARPNESS = 20.0  # of the softmax over cosines: .05 nearer counts e times as much
SAME = 0.999  # cosine above which two rows are one picture; float16 on disk costs about 1e-6
LEFT_OVER = 0.02  # length of what the class's texts may leave of its prototype; float16 costs about 3e-4
NO_PART = 0.01  # coefficient below which a text is no part of a prototype but rounding


@dataclass(frozen=True, slots=True)
class TextShare:
    """What one text adds to the margin; texts of the rival count against it."""

    phrase: str
    class_id: str
    cosine: float  # to the picture
    contribution: float  # logit units


@dataclass(frozen=True, slots=True)
class SupportShare:
    """What one labelled image adds to the margin."""

    name: str
    class_id: str
    cosine: float  # to the picture
    contribution: float  # logit units


@dataclass(frozen=True, eq=False)
class Shares:
    """All texts and images with a share, in the order of the evidence; `exact` where no share was made by likeness."""

    texts: tuple[TextShare, ...] = ()
    support: tuple[SupportShare, ...] = ()
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Question:
    """One picture, and which class it was preferred to which."""

    features: Features  # one row
    winner: int
    rival: int

    @property
    def sides(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """Class and sign in the margin."""
        return (self.winner, 1.0), (self.rival, -1.0)

    def cosines(self, rows: npt.NDArray[np.floating]) -> Array:
        """(N, D) unit rows -> (N,)."""
        image = self.features.image[0].astype(np.float64)
        out: Array = rows.astype(np.float64) @ (image / max(float(np.linalg.norm(image)), 1e-12))
        return out


@dataclass(frozen=True, eq=False)
class _Origins:
    """Logits of one row by where they come from; they add up but for what all classes share."""

    prior: AnyPrior
    text: float  # weight of the prior's text logits
    kernels: tuple[tuple[KernelHead, float], ...]
    fitted: Array  # (C,), made from images, but from no image by name


def shares_of(head: AnyHead, *, question: Question, evidence: Evidence) -> Shares:
    """Shares of the margin by the rules that `pipeline.explain` states; without evidence there are none."""
    if isinstance(head, CoderHead | CoderAdapterHead):
        return _coder(head, question=question, evidence=evidence)
    origins = _origins(head, question=question)
    texts = () if evidence.texts is None else tuple(_texts(origins, question=question, index=evidence.texts))
    if evidence.support is None:
        return Shares(texts)
    votes, by_likeness = _exact_votes(origins, head=head, question=question, index=evidence.support)
    exact = not by_likeness.any()
    if not exact:
        votes += _by_likeness(by_likeness, question=question, index=evidence.support)
    return Shares(texts, _support(votes, question=question, index=evidence.support, classes=head.classes), exact)


def _origins(
    head: ZeroShotHead | PrototypeHead | DeconfusionHead | DeconfusionSharedHead | BlendHead | AffineHead | KernelHead,
    *,
    question: Question,
) -> _Origins:
    if isinstance(head, BlendHead):
        parts = [_origins(part, question=question) for part in head.parts]
        weighed = list(zip(parts, head.weights, strict=True))
        kernels = tuple((one, weight * w) for part, weight in weighed for one, w in part.kernels)
        fitted = np.sum([weight * part.fitted for part, weight in weighed], axis=0)
        return _Origins(parts[0].prior, sum(weight * part.text for part, weight in weighed), kernels, fitted)
    prior: AnyPrior = head if isinstance(head, ZeroShotHead | PrototypeHead) else head.prior
    weight = head.prior_weight if isinstance(head, AffineHead | KernelHead) else 1.0
    kernels = ((head, 1.0),) if isinstance(head, KernelHead) else ()
    if isinstance(prior, ZeroShotHead) and isinstance(head, ZeroShotHead | KernelHead):
        return _Origins(prior, weight, kernels, np.zeros(len(head.classes)))
    text = _text_logits(prior, question=question)
    features = question.features
    if isinstance(head, KernelHead):
        whole = prior.score(Features(image=features.image)).logits[0].astype(np.float64)
        return _Origins(prior, weight, kernels, weight * (whole - text))
    return _Origins(prior, weight, (), head.score(features).logits[0].astype(np.float64) - weight * text)


def _text_vectors(prior: ZeroShotHead | MixedPrior) -> Float32Array:
    """(C, D), zeros where a class has no text."""
    return prior.texts if isinstance(prior, MixedPrior) else prior.prototypes


def _common(prior: ZeroShotHead | MixedPrior, *, question: Question) -> float:
    """Mean text logit of the classes that have a text."""
    vectors = _text_vectors(prior)
    return prior.scale * float(question.cosines(vectors[vectors.any(axis=1)]).mean())


def _text_logits(prior: AnyPrior, *, question: Question) -> Array:
    """(C,) less their common part; zeros where a class has no text."""
    if isinstance(prior, PrototypeHead):
        return np.zeros(len(prior.classes))
    vectors = _text_vectors(prior)
    logits = prior.scale * question.cosines(vectors) - _common(prior, question=question)
    return np.where(vectors.any(axis=1), logits, 0.0)


def _texts(origins: _Origins, *, question: Question, index: TextIndex) -> Iterator[TextShare]:
    """A class vector as a combination of its class's texts (least squares), each less its part of the mean."""
    prior = origins.prior
    if isinstance(prior, PrototypeHead) or not origins.text:
        return
    vectors, cosines = _text_vectors(prior), question.cosines(index.vectors)
    common = _common(prior, question=question)
    for c, sign in question.sides:
        own = np.flatnonzero(index.class_of == c)
        if not own.size:
            continue
        parts, target = index.vectors[own].astype(np.float64).T, vectors[c].astype(np.float64)
        coefficients = np.linalg.lstsq(parts, target, rcond=None)[0]
        if np.linalg.norm(target - parts @ coefficients) > LEFT_OVER:
            continue  # the class vector was made of other texts
        kept = np.abs(coefficients) >= NO_PART
        logits = prior.scale * coefficients * cosines[own]
        logits -= common * np.abs(coefficients) / max(float(np.abs(coefficients[kept]).sum()), NO_PART)
        for row, logit in zip(own[kept].tolist(), logits[kept].tolist(), strict=True):
            share = sign * origins.text * logit
            yield TextShare(index.phrases[row], prior.classes[c], float(cosines[row]), share)


def _exact_votes(origins: _Origins, *, head: AnyHead, question: Question, index: SupportIndex) -> tuple[Array, Array]:
    """(N,) shares that are products, and the (C,) logits that are still to be shared out."""
    votes = np.zeros(len(index.names))
    if isinstance(head, PrototypeHead) and _means_match(head, question=question, index=index):
        return _prototype_votes(head, question=question, index=index), np.zeros(len(head.classes))
    for one, weight in origins.kernels:
        near = kernel(unit_rows(question.features.image - one.centre), support=one.support, beta=one.beta)[0]
        difference = one.coefficients[:, question.winner] - one.coefficients[:, question.rival]
        rows = same_rows(one.support, index=index, centre=one.centre)
        known = rows >= 0
        np.add.at(votes, rows[known], (weight * near.astype(np.float64) * difference)[known])
    return votes, origins.fitted


def _by_likeness(logits: Array, *, question: Question, index: SupportIndex) -> Array:
    """(N,): each side's logit, less the mean of all classes, by a softmax of the cosines to its own images."""
    out, cosines, logits = np.zeros(len(index.names)), question.cosines(index.image), logits - logits.mean()
    for c, sign in question.sides:
        own = np.flatnonzero(index.labels == c)
        if own.size:
            odds = np.exp(SHARPNESS * (cosines[own] - cosines[own].max()))
            out[own] = sign * logits[c] * odds / odds.sum()
    return out


def _means_match(head: PrototypeHead, *, question: Question, index: SupportIndex) -> bool:
    """Whether the images in evidence are those that the two prototypes are means of."""
    for c, _ in question.sides:
        own = index.image[index.labels == c]
        if not len(own) or float(unit_rows(own.mean(axis=0) - head.centre) @ head.prototypes[c]) < SAME:
            return False
    return True


def _prototype_votes(head: PrototypeHead, *, question: Question, index: SupportIndex) -> Array:
    """(N,): a prototype is the mean of its class's centred images over its length, so each adds its own product."""
    out = np.zeros(len(index.names))
    centred = (index.image - head.centre).astype(np.float64)
    z = unit_rows(question.features.image - head.centre)[0].astype(np.float64)
    for c, sign in question.sides:
        own = np.flatnonzero(index.labels == c)
        length = float(np.linalg.norm(centred[own].mean(axis=0)))
        out[own] = sign * head.scale * (centred[own] @ z) / (own.size * length)
    return out


def same_rows(
    rows: npt.NDArray[np.floating], *, index: SupportIndex, centre: npt.NDArray[np.floating] | float = 0.0
) -> npt.NDArray[np.int64]:
    """(n, D) unit rows of a head -> (n,) rows of the evidence that are the same picture, -1 where none is."""
    known = unit_rows(index.image - np.float32(centre))
    if known.shape == rows.shape and bool(((known * rows).sum(axis=1) > SAME).all()):
        return np.arange(len(rows), dtype=np.int64)
    cosines = rows @ known.T
    best = cosines.argmax(axis=1)
    return np.where(cosines[np.arange(len(rows)), best] > SAME, best, -1).astype(np.int64)


def _support(
    votes: Array, *, question: Question, index: SupportIndex, classes: tuple[str, ...]
) -> tuple[SupportShare, ...]:
    cosines = question.cosines(index.image)
    return tuple(
        SupportShare(index.names[row], classes[int(index.labels[row])], float(cosines[row]), float(votes[row]))
        for row in np.flatnonzero(votes).tolist()
    )


def _coder(head: CoderHead | CoderAdapterHead, *, question: Question, evidence: Evidence) -> Shares:
    """The votes of `coder_explain`, the rival's with their sign turned."""
    prior = head.prior if isinstance(head, CoderAdapterHead) else head
    if evidence.texts is None:
        return Shares()
    if not prior.sentences:
        prior = replace(prior, sentences=evidence.texts.phrases)
        head = replace(head, prior=prior) if isinstance(head, CoderAdapterHead) else prior
    everything = max(len(prior.texts.vectors), len(getattr(head, "key_class", ())))
    told = coder_explain.explain(head, image=question.features.image[0], top_k=everything)
    texts, votes = [], np.zeros(0 if evidence.support is None else len(evidence.support.names))
    rows = np.zeros(0, np.int64)
    if isinstance(head, CoderAdapterHead) and evidence.support is not None:
        rows = same_rows(head.key_image, index=evidence.support)
    for side, sign in ((told.winner, 1.0), (told.rival, -1.0)):
        texts += [TextShare(t.text, side.name, t.cosine, sign * t.contribution) for t in side.texts]
        for image in side.support:
            if rows.size and rows[image.row] >= 0:
                votes[rows[image.row]] += sign * image.contribution
    if evidence.support is None:
        return Shares(tuple(texts))
    support = _support(votes, question=question, index=evidence.support, classes=head.classes)
    return Shares(tuple(texts), support)
