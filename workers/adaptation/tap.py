"""What the line decided, handed to the loop beside it; the line never waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.decision.probabilities import softmax
from pipeline.interfaces import Clock
from pipeline.types import Batch, Decision, Features, Float32Array, FrameRef, Prediction, Scores, UInt8Array
from workers.channel import Channel, ChannelClosed
from workers.live_head import LiveHead

CAPACITY = 256  # batches that may wait; beyond it the oldest is left out and counted
LANE = "tap"


class Decided(Protocol):
    """What the loop reads of a decision: a Prediction, or what came of one over a topic."""

    @property
    def ref(self) -> FrameRef: ...
    @property
    def label(self) -> str: ...
    @property
    def decision(self) -> Decision: ...
    @property
    def confidence(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One decided batch; arrays are copies."""

    predictions: Sequence[Decided]  # n
    image: Float32Array  # (n, D), unit rows
    probabilities: Float32Array  # (n, C), calibrated
    labels: npt.NDArray[np.int64]  # (n,), class numbers
    novelty: Float32Array | None  # (n,)
    pixels: UInt8Array | None  # (n, S, S, 3) RGB, where pictures are wanted
    head_version: int


class Tap:
    """Called by the inference thread after every batch; the loop takes from `batches`."""

    def __init__(self, *, clock: Clock) -> None:
        self.batches: Channel[Seen] = Channel(capacity=CAPACITY, clock=clock)
        self.wants_pictures = False  # one assignment by the loop
        self.n_left_out = 0  # frames the loop was too slow for
        self.is_closed = False

    def __call__(
        self, batch: Batch, features: Features, scores: Scores, predictions: Sequence[Prediction], live: LiveHead
    ) -> None:
        """Copy what is needed and go on."""
        n = batch.n_real
        seen = Seen(
            predictions=predictions,
            image=features.image[:n].copy(),
            probabilities=softmax(scores.logits[:n] / np.float32(live.decider.temperature)),
            labels=scores.logits[:n].argmax(axis=1).astype(np.int64),
            novelty=None if scores.novelty is None else scores.novelty[:n].copy(),
            pixels=batch.pixels[:n].copy() if self.wants_pictures else None,
            head_version=live.decider.identity.version,
        )
        try:
            left_out = self.batches.put_evicting(seen, lane=LANE)
        except ChannelClosed:
            return
        if left_out is not None:
            self.n_left_out += len(left_out.predictions)

    def close(self) -> None:
        """Nothing more comes; what is inside can still be taken."""
        self.is_closed = True
        self.batches.close()
