"""What kernel ridge and Tip-Adapter are once fitted: similarities to support images, times one row per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.heads.mixed_prior import AnyPrior, prior_from_parts, prior_parts
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.affine import Settings, Tensors, scores_against
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.types import Features, Float32Array, Scores


def kernel(x: Float32Array, *, support: Float32Array, beta: float) -> Float32Array:
    """exp(-beta (1 - cosine)): unit rows (B, D) and (N, D) -> (B, N)."""
    out: Float32Array = np.exp(np.float32(beta) * (x @ support.T - np.float32(1)))
    return out


@dataclass(frozen=True, eq=False)
class KernelHead:
    """logits = prior term + kernel(x, support) coefficients; the prior enters as logits or as probabilities."""

    kind: str  # kernel_ridge | tip
    prior: AnyPrior
    centre: Float32Array  # (D,), taken off before rows are brought to length one; zeros for Tip-Adapter
    support: Float32Array  # (N, D), unit rows
    coefficients: Float32Array  # (N, C)
    beta: float
    prior_weight: float  # of the prior's logits; 0 without texts
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return self.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """C class ids, in column order."""
        return self.prior.classes

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C)."""
        prior = self.prior.score(Features(image=features.image)).logits
        near = kernel(unit_rows(features.image - self.centre), support=self.support, beta=self.beta)
        logits = near @ self.coefficients + np.float32(self.prior_weight) * prior
        return scores_against(prior, logits=logits.astype(np.float32), image=features.image, novelty=self.novelty)

    def settings(self) -> Settings:
        """Plain values that, with `tensors`, give the same head again."""
        prior, _ = prior_parts(self.prior)
        return {"kind": self.kind, "beta": self.beta, "prior_weight": self.prior_weight, "prior": prior}

    def tensors(self) -> Tensors:
        """C-contiguous float32 values; the novelty model is stored by whoever stores the head."""
        _, tensors = prior_parts(self.prior)
        tensors |= {"centre": self.centre, "support": self.support, "coefficients": self.coefficients}
        return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}

    @classmethod
    def from_tensors(
        cls, settings: Settings, *, tensors: Tensors, classes: tuple[str, ...], novelty: NoveltyModel | None = None
    ) -> Self:
        """The head again, bit for bit."""
        return cls(
            kind=settings["kind"],
            prior=prior_from_parts(settings["prior"], tensors=tensors, classes=classes),
            centre=tensors["centre"],
            support=tensors["support"],
            coefficients=tensors["coefficients"],
            beta=float(settings["beta"]),
            prior_weight=float(settings["prior_weight"]),
            novelty=novelty,
        )
