"""The one thread that owns the encoder: frames to batches, batches to predictions; no frame can stop it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from pipeline.batcher import Batcher
from pipeline.decision import Decider
from pipeline.errors import DataError
from pipeline.interfaces import Clock, Encoder, Head
from pipeline.types import Batch, DeadLetter, Features, Frame, FrameRef, Prediction
from workers.channel import Channel, ChannelClosed, Waiting
from workers.ledger import Ledger
from workers.publish import Outcome

log = structlog.get_logger()

LANE = "inference"
IDLE_S = 0.5  # how long a wait for frames lasts before the loop looks around


@dataclass(frozen=True, slots=True)
class LiveHead:
    """A head with the decider that knows its classes and temperature: swapped as one value."""

    head: Head
    decider: Decider


class Inference:
    """`run` belongs to one thread; `swap` may be called from any and takes effect at the next batch."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        live: LiveHead,
        batcher: Batcher,
        frames: Channel[Frame],
        outcomes: Channel[Outcome],
        ledger: Ledger,
        clock: Clock,
        observe: Callable[[Batch, float], None],
    ) -> None:
        self._encoder = encoder
        self._live = live
        self._batcher = batcher
        self._frames = frames
        self._outcomes = outcomes
        self._ledger = ledger
        self._clock = clock
        self._observe = observe

    @property
    def live(self) -> LiveHead:
        """The head that the next batch will meet."""
        return self._live

    def swap(self, live: LiveHead) -> None:
        """One assignment, between two batches: no batch mixes heads."""
        self._live = live

    def run(self) -> None:
        """Return when the frames channel is closed and empty; raise when the encoder itself is broken."""
        while True:
            frames = self._frames.take(rows=self._batcher.rows_for, hold=self._hold, timeout_s=IDLE_S)
            if frames:
                self._process(frames)
            elif self._frames.exhausted:
                return

    def _hold(self, waiting: Waiting) -> float:
        return self._batcher.hold_s(n=waiting.n, oldest_wait_s=waiting.oldest_wait_s, gap_s=waiting.gap_s)

    def _process(self, frames: Sequence[Frame]) -> None:
        """Decide all of them; where the encoder or head fails, halve until the poison stands alone."""
        batch = self._batcher.fill(frames, now=self._clock.monotonic())
        try:
            predictions = self._infer(batch)
        except Exception as error:  # noqa: BLE001 - whatever one picture provokes must not stop the line
            if len(frames) > 1:
                half = len(frames) // 2
                self._process(frames[:half])
                self._process(frames[half:])
            else:
                self._refuse(frames[0], error)
            return
        self._put(predictions, refs=batch.refs)

    def _infer(self, batch: Batch) -> list[Prediction]:
        live = self._live
        started_at = self._clock.monotonic()
        features = self._encoder.encode(batch)
        _check_finite(features, n=batch.n_real)
        scores = live.head.score(features)
        ended_at = self._clock.monotonic()
        self._observe(batch, ended_at - started_at)
        return live.decider.decide(scores, batch=batch, decided_at=ended_at, infer_s=ended_at - started_at)

    def _refuse(self, frame: Frame, error: Exception) -> None:
        """Dead-letter one frame, after making sure that an empty picture still passes: else the encoder is broken."""
        blank = Frame(frame.ref, np.zeros_like(frame.image))
        self._infer(self._batcher.fill([blank], now=self._clock.monotonic()))
        log.warning("frame refused", event_id=frame.ref.event_id, cause=repr(error))
        letter = DeadLetter(
            source_id=frame.ref.source_id,
            reason="inference",
            message=repr(error),
            original=frame.evidence or b"",
            ref=frame.ref,
        )
        self._put(letter, refs=(frame.ref,))

    def _put(self, outcome: Outcome, *, refs: Sequence[FrameRef]) -> None:
        try:
            self._outcomes.put(outcome, lane=LANE)
        except ChannelClosed:
            for ref in refs:
                self._ledger.dropped(ref, reason="shutdown")


def _check_finite(features: Features, *, n: int) -> None:
    bad = np.flatnonzero(~np.isfinite(features.image[:n]).all(axis=1))
    if bad.size:
        raise DataError(f"encoder: expected finite embeddings, got NaN or infinity in rows {bad.tolist()} of {n}")
