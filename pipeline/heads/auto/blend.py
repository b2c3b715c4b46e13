"""Several heads as one: a weighted sum of their row-centred logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.affine import AffineHead, Settings, Tensors, centred_rows, scores_against
from pipeline.heads.simple.kernel_heads import KernelHead
from pipeline.types import Features, Float32Array, Scores

Part = AffineHead | KernelHead


@dataclass(frozen=True, eq=False)
class BlendHead:
    """logits = sum_k weight_k * (head_k's logits, row-centred). Row by row, like its parts."""

    parts: tuple[Part, ...]  # at least one; all with the same classes and prior
    weights: tuple[float, ...]
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "auto"

    @property
    def classes(self) -> tuple[str, ...]:
        """C class ids, in column order."""
        return self.parts[0].classes

    @property
    def n_levels(self) -> int:
        """Levels that the part with most of them needs."""
        return max(part.n_levels for part in self.parts)

    def score(self, features: Features) -> Scores:
        """(B, D) and the levels -> (B, C); `zero_shot` is the parts' common prior."""
        scores = [part.score(features) for part in self.parts]
        logits = blended(tuple(s.logits for s in scores), weights=self.weights)
        return scores_against(scores[0].zero_shot, logits=logits, image=features.image, novelty=self.novelty)

    def settings(self) -> Settings:
        """Plain values that, with `tensors`, give the same head again."""
        return {"kind": "auto", "weights": list(self.weights), "parts": [part.settings() for part in self.parts]}

    def tensors(self) -> Tensors:
        """Every part's tensors under `partN.`."""
        return {f"part{i}.{k}": v for i, part in enumerate(self.parts) for k, v in part.tensors().items()}

    @classmethod
    def from_tensors(
        cls, settings: Settings, *, tensors: Tensors, classes: tuple[str, ...], novelty: NoveltyModel | None = None
    ) -> Self:
        """The head again, bit for bit."""
        parts = []
        for i, plain in enumerate(settings["parts"]):
            own = {k.removeprefix(f"part{i}."): v for k, v in tensors.items() if k.startswith(f"part{i}.")}
            parts.append(part_from_tensors(plain, tensors=own, classes=classes))
        return cls(parts=tuple(parts), weights=tuple(map(float, settings["weights"])), novelty=novelty)


def part_from_tensors(settings: dict[str, Any], *, tensors: Tensors, classes: tuple[str, ...]) -> Part:
    """A part by what its settings hold."""
    kind: type[KernelHead] | type[AffineHead] = KernelHead if "beta" in settings else AffineHead
    return kind.from_tensors(settings, tensors=tensors, classes=classes)


def blended(logits: tuple[Float32Array, ...], *, weights: tuple[float, ...]) -> Float32Array:
    """Weighted sum of row-centred (B, C) logits."""
    total = np.zeros_like(logits[0])
    for z, weight in zip(logits, weights, strict=True):
        total += np.float32(weight) * centred_rows(z)
    return total
