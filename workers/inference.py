"""The one thread that owns the encoder: frames to batches, batches to predictions; no frame can stop it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
import structlog

from pipeline.batcher import Batcher
from pipeline.decision import Decider
from pipeline.errors import DataError
from pipeline.interfaces import Clock, Encoder, Head, PipelinedEncoder
from pipeline.types import Batch, DeadLetter, Features, Frame, Prediction, Scores
from workers.capture import Item
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
    safe: bool = False  # its review band is wider until a drift is settled


TapLike = Callable[[Batch, Features, Scores, Sequence[Prediction], LiveHead], None]


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch on its way: the head it will meet was fixed when it started."""

    items: Sequence[Item]  # what was taken, letters in their places
    frames: Sequence[Frame]  # the frames among them
    batch: Batch
    live: LiveHead
    started_at: float
    collect: Callable[[], Features]


class Inference:
    """`run` belongs to one thread; `swap` may be called from any and takes effect at the next batch."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        live: LiveHead,
        batcher: Batcher,
        frames: Channel[Item],
        outcomes: Channel[list[Outcome]],
        ledger: Ledger,
        clock: Clock,
        observe: Callable[[Batch, float], None],
        tap: TapLike | None = None,
    ) -> None:
        """`tap` is told of every decided batch before its buffers are used again; it must be quick."""
        self._n_in_flight = encoder.n_in_flight if isinstance(encoder, PipelinedEncoder) else 1
        self._submit = encoder.submit if isinstance(encoder, PipelinedEncoder) else partial(partial, encoder.encode)
        self._live = live
        self._batcher = batcher
        self._frames = frames
        self._outcomes = outcomes
        self._ledger = ledger
        self._clock = clock
        self._observe = observe
        self._tap = tap

    @property
    def live(self) -> LiveHead:
        """The head that the next batch will meet."""
        return self._live

    def swap(self, live: LiveHead) -> None:
        """One assignment, between two batches: no batch mixes heads."""
        self._live = live

    def run(self) -> None:
        """Return when the frames channel is closed and empty; raise when the encoder itself is broken."""
        flights: deque[_Flight] = deque()
        while True:
            items = self._take(waiting=not flights)
            if any(isinstance(one, Frame) for one in items):
                flights.append(self._start(items))
            elif items:
                while flights:
                    self._finish(flights.popleft())
                self._put([one for one in items if isinstance(one, DeadLetter)])
            if flights and (not items or len(flights) >= self._n_in_flight):
                self._finish(flights.popleft())
            elif not items and self._frames.exhausted:
                return

    def _take(self, *, waiting: bool) -> list[Item]:
        """With a batch on the device, only what is there already: its results must not wait for new frames."""
        if waiting:
            return self._frames.take(rows=self._batcher.rows_for, hold=self._hold, timeout_s=IDLE_S)
        return self._frames.take(rows=self._batcher.rows_for, timeout_s=0.0)

    def _hold(self, waiting: Waiting) -> float:
        return self._batcher.hold_s(n=waiting.n, oldest_wait_s=waiting.oldest_wait_s, gap_s=waiting.gap_s)

    def _start(self, items: Sequence[Item]) -> _Flight:
        now = self._clock.monotonic()
        frames = [one for one in items if isinstance(one, Frame)]
        batch = self._batcher.fill(frames, now=now)
        try:
            collect = self._submit(batch)
        except Exception as error:  # noqa: BLE001 - answered in _finish, where every failure of a batch ends
            collect = partial(_raise, error)
        return _Flight(items, frames, batch, self._live, now, collect)

    def _finish(self, flight: _Flight) -> None:
        """Decide all of them; where encoder or head fails, halve until the poison stands alone."""
        try:
            predictions = self._decide(flight)
        except Exception as error:  # noqa: BLE001 - whatever one picture provokes must not stop the line
            self._halve(flight, error)
            return
        decided = iter(predictions)
        self._put([one if isinstance(one, DeadLetter) else next(decided) for one in flight.items])

    def _halve(self, flight: _Flight, error: Exception) -> None:
        items = flight.items
        if len(flight.frames) == 1:
            self._put([one if isinstance(one, DeadLetter) else self._refused(one, error) for one in items])
            return
        middle = items.index(flight.frames[len(flight.frames) // 2])
        for half in (items[:middle], items[middle:]):
            self._finish(self._start(half))

    def _decide(self, flight: _Flight) -> list[Prediction]:
        batch, live = flight.batch, flight.live
        features = flight.collect()
        _check_finite(features, n=batch.n_real)
        scores = live.head.score(features)
        ended_at = self._clock.monotonic()
        infer_s = ended_at - flight.started_at
        self._observe(batch, infer_s)
        predictions = live.decider.decide(scores, batch=batch, decided_at=ended_at, infer_s=infer_s)
        if self._tap is not None:
            self._tap(batch, features, scores, predictions, live)
        return predictions

    def _refused(self, frame: Frame, error: Exception) -> DeadLetter:
        """One frame's letter, after making sure that an empty picture still passes: else the encoder is broken."""
        self._decide(self._start([Frame(frame.ref, np.zeros_like(frame.image))]))
        log.warning("frame refused", event_id=frame.ref.event_id, cause=repr(error))
        return DeadLetter(
            source_id=frame.ref.source_id,
            reason="inference",
            message=repr(error),
            original=frame.evidence or b"",
            ref=frame.ref,
        )

    def _put(self, outcomes: list[Outcome]) -> None:
        try:
            self._outcomes.put(outcomes, lane=LANE)
        except ChannelClosed:
            for one in outcomes:
                self._ledger.dropped(one.ref, reason="shutdown")


def _check_finite(features: Features, *, n: int) -> None:
    bad = np.flatnonzero(~np.isfinite(features.image[:n]).all(axis=1))
    if bad.size:
        raise DataError(f"encoder: expected finite embeddings, got NaN or infinity in rows {bad.tolist()} of {n}")


def _raise(error: Exception) -> NoReturn:
    raise error
