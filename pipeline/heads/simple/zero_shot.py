"""The zero-shot head: tau times the cosine between image and class text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.heads.novelty import NoveltyModel
from pipeline.types import Features, Float32Array, Scores


def unit_rows(x: Float32Array) -> Float32Array:
    """Rows at length one; a row of zeros stays zero."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    out: Float32Array = (x / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return out


def class_prototypes(embeddings: Float32Array) -> Float32Array:
    """(C, prompts, D) prompt embeddings -> (C, D): unit-normalise, mean over prompts, unit-normalise (CLIP, 2021)."""
    return unit_rows(unit_rows(embeddings).mean(axis=-2))


def zero_shot_logits(image: Float32Array, *, prototypes: Float32Array, scale: float) -> Float32Array:
    """scale * <v/|v|, t_c>: (B, D) and (C, D) unit rows -> (B, C)."""
    out: Float32Array = np.float32(scale) * (unit_rows(image) @ prototypes.T)
    return out


def plain_scores(logits: Float32Array, *, image: Float32Array, novelty: NoveltyModel | None) -> Scores:
    """Scores of a head that removes no confusion."""
    far = None if novelty is None else novelty.score(image)
    return Scores(zero_shot=logits, confusion=np.zeros_like(logits), logits=logits.copy(), novelty=far)


@dataclass(frozen=True, eq=False)
class ZeroShotHead:
    """CLIP's own classifier over the class texts (Radford et al., 2021); nothing is fitted."""

    classes: tuple[str, ...]
    prototypes: Float32Array  # (C, D), unit rows
    scale: float  # tau, about 100
    novelty: NoveltyModel | None = None  # fitted where there are labelled images

    @property
    def name(self) -> str:
        """Kind of head."""
        return "zero_shot"

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C) logits; no confusion is removed."""
        logits = zero_shot_logits(features.image, prototypes=self.prototypes, scale=self.scale)
        return plain_scores(logits, image=features.image, novelty=self.novelty)
