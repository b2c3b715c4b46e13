"""What most strong heads are once fitted: one matrix over the embedding, and one over the levels where they help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.heads.mixed_prior import AnyPrior, prior_from_parts, prior_parts
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array, Scores

Array = npt.NDArray[np.float64]
Tensors = dict[str, Float32Array]
Settings = dict[str, Any]


def joined_levels(levels: tuple[Float32Array, ...]) -> Float32Array:
    """Per level (B, 2W) -> (B, sum of 2W): every level at length one, side by side."""
    return np.concatenate([unit_rows(level) for level in levels], axis=1)


def centred_rows(logits: npt.NDArray[Any]) -> Float32Array:
    """Row-centred logits: what all classes share says nothing."""
    out: Float32Array = (logits - logits.mean(axis=1, keepdims=True)).astype(np.float32)
    return out


def one_hot(labels: Labels, *, n_classes: int) -> Array:
    """(N,) -> (N, C)."""
    out = np.zeros((labels.size, n_classes))
    out[np.arange(labels.size), labels] = 1.0
    return out


def scores_against(prior: Float32Array, *, logits: Float32Array, image: Float32Array, novelty: Any) -> Scores:
    """Scores whose `confusion` is the prior minus the head: logits = zero_shot - confusion exactly."""
    confusion = prior - logits
    far = None if novelty is None else novelty.score(image)
    return Scores(zero_shot=prior, confusion=confusion, logits=prior - confusion, novelty=far)


@dataclass(frozen=True, eq=False)
class AffineHead:
    """logits = prior_weight * prior + z W^T + b (+ levels L^T), z the embedding less its centre.

    In `Scores`, `zero_shot` is the prior (text or image prototypes) and `confusion` what the head takes away from it.
    """

    kind: str  # probe | gda | linear | kernel_ridge | pool
    prior: AnyPrior
    centre: Float32Array  # (D,), zeros where the embedding is used as it is
    weights: Float32Array  # (C, D)
    bias: Float32Array  # (C,)
    prior_weight: float = 0.0
    unit: bool = False  # z is brought back to length one after centring
    level_weights: Float32Array | None = None  # (C, sum of level widths)
    level_dims: tuple[int, ...] = ()
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
        """Levels it was fitted with; 0 when the embedding was all there was."""
        return len(self.level_dims)

    def score(self, features: Features) -> Scores:
        """(B, D) and the levels -> (B, C). Raises DataError when they are not what the head was fitted on."""
        prior = self.prior.score(Features(image=features.image)).logits
        z = features.image - self.centre
        logits = (unit_rows(z) if self.unit else z) @ self.weights.T + self.bias
        if self.prior_weight:
            logits = logits + np.float32(self.prior_weight) * prior
        if self.level_weights is not None:
            logits = logits + self._levels(features) @ self.level_weights.T
        return scores_against(prior, logits=logits.astype(np.float32), image=features.image, novelty=self.novelty)

    def _levels(self, features: Features) -> Float32Array:
        got = tuple(level.shape[1] for level in features.levels)
        if got != self.level_dims:
            raise DataError(
                f"{self.kind} head: expected levels of widths {self.level_dims}, got {got}; "
                "ask the encoder for the levels the head was fitted with"
            )
        return joined_levels(features.levels)

    def settings(self) -> Settings:
        """Plain values that, with `tensors`, give the same head again."""
        prior, _ = prior_parts(self.prior)
        plain = {"kind": self.kind, "prior_weight": self.prior_weight, "unit": self.unit}
        return {**plain, "level_dims": list(self.level_dims), "prior": prior}

    def tensors(self) -> Tensors:
        """C-contiguous float32 values; the novelty model is stored by whoever stores the head."""
        _, tensors = prior_parts(self.prior)
        tensors |= {"centre": self.centre, "weights": self.weights, "bias": self.bias}
        if self.level_weights is not None:
            tensors["level_weights"] = self.level_weights
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
            weights=tensors["weights"],
            bias=tensors["bias"],
            prior_weight=float(settings["prior_weight"]),
            unit=bool(settings["unit"]),
            level_weights=tensors.get("level_weights"),
            level_dims=tuple(settings["level_dims"]),
            novelty=novelty,
        )
