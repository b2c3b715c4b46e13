"""The deconfusion head: prior logits, the confusion between classes taken off, multi-level experts blended in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.errors import DataError
from pipeline.heads.deconfusion.fusion import Fusion
from pipeline.heads.deconfusion.inference import FrozenNetwork
from pipeline.heads.deconfusion.network import DeconfusionNetwork
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.prototype import PrototypeHead
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import Features, Float32Array, Scores

Prior = ZeroShotHead | PrototypeHead


def prior_logits(prior: Prior, *, image: Float32Array) -> Float32Array:
    """(B, D) -> (B, C): s of LDC."""
    return prior.score(Features(image=image)).logits


@dataclass(frozen=True, eq=False)
class DeconfusionHead:
    """LDC (CVPR 2025, arXiv 2504.12104) in its production form; see `network` for what differs from the paper.

    In `Scores`: `zero_shot` is s (text or image prototypes), `logits` is f, and `confusion` is all that was taken
    away from s on the way to f, ICD and fusion together, row-centred: logits = zero_shot - confusion exactly, so
    that every margin adds up.
    """

    prior: Prior
    network: DeconfusionNetwork
    fusion: Fusion
    novelty: NoveltyModel | None = None

    @property
    def name(self) -> str:
        """Kind of head."""
        return "deconfusion"

    @property
    def classes(self) -> tuple[str, ...]:
        """C class ids, in column order."""
        return self.prior.classes

    @property
    def n_levels(self) -> int:
        """Levels it was fitted with; 0 when the embedding was all there was."""
        return len(self.network.shape.level_dims)

    @cached_property
    def frozen(self) -> FrozenNetwork:
        """The network as it runs; made once."""
        return FrozenNetwork(self.network)

    def score(self, features: Features) -> Scores:
        """(B, D) and the levels -> (B, C). Raises DataError when they are not what the head was fitted on."""
        image = features.image
        levels = self._joined(features.levels, n=image.shape[0])
        s = prior_logits(self.prior, image=image)
        experts = self.frozen.experts(
            image,
            levels=levels,
            prior=s,
            correction=self.fusion.correction_weight != 0.0,
            residual=self.fusion.residual_weight != 0.0,
        )
        fused = self.fusion.apply(experts)
        confusion = (s - s.mean(axis=1, keepdims=True)) - fused
        far = None if self.novelty is None else self.novelty.score(image)
        return Scores(zero_shot=s, confusion=confusion, logits=s - confusion, novelty=far)

    def _joined(self, levels: Sequence[Float32Array], *, n: int) -> Float32Array:
        dims = self.network.shape.level_dims
        got = tuple(level.shape[1] for level in levels)
        if dims and got != dims:
            raise DataError(
                f"deconfusion head: expected levels of widths {dims}, got {got}; "
                "ask the encoder for the levels the head was fitted with"
            )
        return self.frozen.standardised(tuple(levels), n=n)
