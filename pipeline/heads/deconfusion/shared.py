"""The deconfusion head whose size does not grow with its classes, and that takes a class without being fitted again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.deconfusion.fusion import ExpertLogits, Fusion
from pipeline.heads.deconfusion.head import Prior, prior_logits
from pipeline.heads.deconfusion.shared_network import FrozenCorrection
from pipeline.heads.metric import Metric
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.prototype import PrototypeHead
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array, Scores


@dataclass(frozen=True, eq=False)
class SharedSpace:
    """Image to code: embedding and standardised levels, whitened and side by side; fitted once for all classes."""

    image: Metric
    levels: Metric | None
    level_mean: Float32Array  # (sum of level dims,)
    level_gain: Float32Array  # (sum of level dims,)
    level_dims: tuple[int, ...]
    within: float  # mean squared distance of a code to its class mean

    def codes(self, features: Features) -> Float32Array:
        """(B, D) and the levels -> (B, M). Raises DataError on levels it was not fitted with."""
        code = self.image.apply(features.image)
        if self.levels is None:
            return code
        got = tuple(level.shape[1] for level in features.levels)
        if got != self.level_dims:
            raise DataError(
                f"deconfusion_shared head: expected levels of widths {self.level_dims}, got {got}; "
                "ask the encoder for the levels the head was fitted with"
            )
        joined = (np.concatenate(features.levels, axis=1) - self.level_mean) * self.level_gain
        return np.concatenate([code, self.levels.apply(joined)], axis=1)


@dataclass(frozen=True, eq=False)
class DeconfusionSharedHead:
    """LDC with class embeddings in place of class columns.

    s is the prior; Delta the shared correction of it (see `shared_network`); m the Gaussian classifier around the
    class means in the shared metric. logits = beta m + (1 - beta) (s + w Delta), as in the deconfusion head. No class's
    value depends on which others there are, but for what is common to all: one class more leaves the order of the rest.
    A class without images keeps its text logit. In `Scores` confusion is all that was taken off s, row-centred.
    """

    prior: Prior
    space: SharedSpace
    means: Float32Array  # (C, M), mean codes of the classes; zeros without images
    n_images: Labels  # (C,), source images behind each mean
    text_centre: Float32Array  # (D,), mean text of the classes fitted on; (0,) where the prior has no texts
    correction: FrozenCorrection
    fusion: Fusion
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "deconfusion_shared"

    @property
    def classes(self) -> tuple[str, ...]:
        """C class ids, in column order."""
        return self.prior.classes

    @property
    def n_levels(self) -> int:
        """Levels it was fitted with; 0 when the embedding was all there was."""
        return len(self.space.level_dims)

    @cached_property
    def class_codes(self) -> Float32Array:
        """(C, WIDTH)."""
        texts = self.prior.prototypes if self.text_centre.size else None
        embeddings = class_embeddings(self.means, texts=texts, text_centre=self.text_centre)
        out: Float32Array = self.correction.class_codes(embeddings) * (self.n_images > 0)[:, None].astype(np.float32)
        return out

    @cached_property
    def offsets(self) -> Float32Array:
        """(C,), half the squared length of each mean, less what the scatter of its few images adds to it."""
        squared = (self.means * self.means).sum(axis=1) - np.float32(self.space.within) / np.maximum(self.n_images, 1)
        out: Float32Array = (0.5 * np.maximum(squared, 0.0)).astype(np.float32)
        return out

    def score(self, features: Features) -> Scores:
        """(B, D) and the levels -> (B, C). Raises DataError when they are not what the head was fitted on."""
        s = prior_logits(self.prior, image=features.image)
        fused = self.fusion.apply(self.experts(features, prior=s))
        confusion = (s - s.mean(axis=1, keepdims=True)) - fused
        far = None if self.novelty is None else self.novelty.score(features.image)
        return Scores(zero_shot=s, confusion=confusion, logits=s - confusion, novelty=far)

    def experts(self, features: Features, *, prior: Float32Array) -> ExpertLogits:
        """What prior (B, C), correction and means say, row-centred."""
        u, s = self.space.codes(features), prior - prior.mean(axis=1, keepdims=True)
        delta = self.correction.image_codes(u) @ self.class_codes.T
        m = u @ self.means.T - self.offsets
        seen = self.n_images > 0
        if seen.any():
            m -= m[:, seen].mean(axis=1, keepdims=True)
        if not seen.all():
            m[:, ~seen] = s[:, ~seen] / np.float32(self.fusion.maf_scale)
        return ExpertLogits(
            prior=s,
            correction=(delta - delta.mean(axis=1, keepdims=True)).astype(np.float32),
            maf=(m - m.mean(axis=1, keepdims=True)).astype(np.float32),
            maf_residual=np.zeros_like(s),
        )


def class_embeddings(means: Float32Array, *, texts: Float32Array | None, text_centre: Float32Array) -> Float32Array:
    """(C, M) mean codes and, where there are, (C, D) texts less their centre, side by side."""
    return means if texts is None else np.concatenate([means, texts - text_centre], axis=1)


def with_class(
    head: DeconfusionSharedHead,
    *,
    class_id: str,
    prototype: Features | None = None,
    n_images: int = 1,
    text: Float32Array | None = None,
) -> DeconfusionSharedHead:
    """The head with one class more; nothing is fitted and the order of the other classes stays as it was.

    `prototype` is the mean over `n_images` unit image embeddings (1, D) and their levels, `text` the class's text
    vector (D,). A head on texts needs the text, a head on image prototypes the prototype; with a text alone the
    class competes by its text logit and its images still count as novel. Raises DataError.
    """
    prior = head.prior
    if class_id in head.classes:
        raise DataError(f"with_class: expected a class the head does not have, got {class_id}; leave it out first")
    needed, given = ("prototype", prototype) if isinstance(prior, PrototypeHead) else ("text", text)
    if given is None:
        raise DataError(f"with_class: expected a {needed} for {class_id}, got none; the head's prior is made of them")
    rows = head.means[:1] * 0 if prototype is None else _one_row(prototype, head=head, class_id=class_id)
    if isinstance(prior, PrototypeHead) and prototype is not None:
        vector = prototype.image - prior.centre
    else:
        vector = _text_row(text, dim=prior.prototypes.shape[1], class_id=class_id)
    prototypes = np.concatenate([prior.prototypes, unit_rows(vector)])
    novelty = head.novelty
    if novelty is not None and prototype is not None:
        novelty = novelty.with_mean(prototype.image)
    return replace(
        head,
        prior=replace(prior, classes=(*prior.classes, class_id), prototypes=prototypes),
        means=np.concatenate([head.means, rows]),
        n_images=np.append(head.n_images, 0 if prototype is None else n_images),
        novelty=novelty,
    )


def without_class(head: DeconfusionSharedHead, *, class_id: str) -> DeconfusionSharedHead:
    """The head with one class less; its images are no longer anything known. Raises DataError."""
    if class_id not in head.classes or len(head.classes) < 3:
        have = ", ".join(head.classes)
        raise DataError(f"without_class: expected one of three classes or more, got {class_id} of {have}")
    gone = head.classes.index(class_id)
    kept = np.delete(np.arange(len(head.classes)), gone)
    prior, novelty = head.prior, head.novelty
    if novelty is not None and head.n_images[gone]:
        novelty = replace(novelty, means=np.delete(novelty.means, int((head.n_images[:gone] > 0).sum()), axis=0))
    return replace(
        head,
        prior=replace(
            prior, classes=tuple(c for c in prior.classes if c != class_id), prototypes=prior.prototypes[kept]
        ),
        means=head.means[kept],
        n_images=head.n_images[kept],
        novelty=novelty,
    )


def _one_row(prototype: Features, *, head: DeconfusionSharedHead, class_id: str) -> Float32Array:
    dim = head.space.image.centre.size
    if prototype.image.shape != (1, dim) or not np.isfinite(prototype.image).all():
        got = f"shape {prototype.image.shape}"
        raise DataError(f"with_class: expected one finite row of {dim} values as prototype of {class_id}, got {got}")
    return head.space.codes(prototype)


def _text_row(text: Float32Array | None, *, dim: int, class_id: str) -> Float32Array:
    row = np.zeros(0, np.float32) if text is None else np.asarray(text, np.float32).reshape(-1)
    if row.size != dim or not np.isfinite(row).all():
        raise DataError(f"with_class: expected {dim} finite values as text of {class_id}, got {row.size}")
    return row[None]
