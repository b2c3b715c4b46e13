"""Two heads on the same embeddings: every frame decided by both, a random share of what differs put before people."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from pipeline.adaptation.support.choosing import Choice, choose_gate
from pipeline.decision.probabilities import softmax
from pipeline.types import Decision, Features, Float32Array, UInt8Array
from workers.adaptation.tap import Decided, Seen
from workers.live_head import LiveHead

INCLUSION = (
    0.25  # of the disagreements of a pool are drawn: declared before, so that each label speaks with full weight
)


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """A frame on which the heads differ; decisions are class numbers, or C for review."""

    prediction: Decided
    embedding: Float32Array  # (D,)
    picture: UInt8Array | None  # (S, S, 3) RGB
    champion: int
    challenger: int
    confidence: float  # of the champion


@dataclass(frozen=True, slots=True)
class Pool:
    """A full pool of frames, and the disagreements drawn from it."""

    n_agreed: int
    differing: dict[str, Disagreement]  # by event id
    drawn: tuple[Choice, ...]


class Trial:
    """Pools frames, and draws when a pool is full: disagreements drawn as they come would follow product runs.

    Both heads decide under their own normal policies, so it does not matter which of them the line uses meanwhile,
    or whether its review band is wider for now.
    """

    def __init__(
        self,
        champion: LiveHead,
        challenger: LiveHead,
        *,
        n_classes: int,
        pool_frames: int,
        seed: int,
        pool_differing: int | None = None,
    ) -> None:
        """A pool is full at so many frames, or before that at so many disagreements."""
        self._champion, self._challenger = champion, challenger
        self._n_classes, self._pool_frames, self._seed = n_classes, pool_frames, seed
        self._pool_differing = pool_differing or pool_frames
        self._n_agreed = 0
        self._differing: dict[str, Disagreement] = {}
        self.n_pools = 0

    def take(self, seen: Seen, *, asked: Callable[[], Collection[str]]) -> Pool | None:
        """Decide a batch twice; a pool when it is full. Frames that `asked` names are another stream's."""
        features = Features(image=seen.image)
        ours, sure = self._decided(self._champion, features)
        theirs, _ = self._decided(self._challenger, features)
        for row in np.flatnonzero(np.not_equal(ours, theirs)).tolist():
            one = seen.predictions[row]
            picture = None if seen.pixels is None else seen.pixels[row]
            self._differing[one.ref.event_id] = Disagreement(
                one, seen.image[row], picture, ours[row], theirs[row], float(sure[row])
            )
        self._n_agreed += int(np.equal(ours, theirs).sum())
        n_differing = len(self._differing)
        if n_differing < self._pool_differing and self._n_agreed + n_differing < self._pool_frames:
            return None
        return self._closed(asked())

    def _decided(self, live: LiveHead, features: Features) -> tuple[list[int], Float32Array]:
        scores = live.head.score(features)
        codes = [
            label if verdict in (Decision.ACCEPT, Decision.REJECT) else self._n_classes
            for label, verdict in live.decider.judge(scores)
        ]
        return codes, softmax(scores.logits / np.float32(live.decider.temperature)).max(axis=1)

    def _closed(self, asked: Collection[str]) -> Pool:
        ids = sorted(one for one in self._differing if one not in asked)
        choices = choose_gate(
            ids,
            champion=[str(self._differing[one].champion) for one in ids],
            challenger=[str(self._differing[one].challenger) for one in ids],
            n=math.ceil(INCLUSION * len(ids)),
            seed=self._seed * 1_000 + self.n_pools,
        )
        pool = Pool(self._n_agreed, self._differing, choices)
        self._differing, self._n_agreed = {}, 0
        self.n_pools += 1
        return pool
