"""The one thread that owns the encoder: frames to batches, batches to predictions; no frame can stop it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import numpy as np
import structlog

from pipeline.batcher import Batcher
from pipeline.errors import DataError
from pipeline.interfaces import Clock, Encoder, PipelinedEncoder
from pipeline.parts import Part
from pipeline.types import Batch, DeadLetter, Features, Frame, FrameRef, Prediction
from workers.capture import Item
from workers.channel import Channel, ChannelClosed, Waiting
from workers.ledger import Ledger
from workers.live_head import LiveHead, TapLike
from workers.part_decisions import PartDecisions, PartsPlan
from workers.publish import Outcome

log = structlog.get_logger()

LANE = "inference"
IDLE_S = 0.5  # how long a wait for frames lasts before the loop looks around


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
        parts: PartsPlan | None = None,
    ) -> None:
        """`tap` is told of every decided batch before its buffers are used again; it must be quick.

        With `parts` the frames of some cameras are decided part by part: a part's outcome comes when it closes.
        """
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
        self._parts = None if parts is None else PartDecisions(parts, clock=clock, tap=tap)

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
                self._close_parts(flights, all_of_them=True)
                return
            self._close_parts(flights)

    def _take(self, *, waiting: bool) -> list[Item]:
        """With a batch on the device, only what is there already: its results must not wait for new frames."""
        if waiting:
            timeout_s = IDLE_S if self._parts is None else self._parts.wait_s(IDLE_S)
            return self._frames.take(rows=self._batcher.rows_for, hold=self._hold, timeout_s=timeout_s)
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
            decided = iter(self._decide(flight))
        except Exception as error:  # noqa: BLE001 - whatever one picture provokes must not stop the line
            self._halve(flight, error)
            return
        self._put([out for one in flight.items for out in ([one] if isinstance(one, DeadLetter) else next(decided))])

    def _halve(self, flight: _Flight, error: Exception) -> None:
        items = flight.items
        if len(flight.frames) == 1:
            self._put([one if isinstance(one, DeadLetter) else self._refused(one, error) for one in items])
            return
        middle = items.index(flight.frames[len(flight.frames) // 2])
        for half in (items[:middle], items[middle:]):
            self._finish(self._start(half))

    def _decide(self, flight: _Flight) -> list[list[Outcome]]:
        """What became of each frame: its prediction, or the parts that it closed."""
        batch = flight.batch
        features = flight.collect()
        _check_finite(features, n=batch.n_real)
        rows = [row for row, ref in enumerate(batch.refs) if self._parts is None or not self._parts.takes(ref)]
        if len(rows) == batch.n_real:
            return [[one] for one in self._decide_alone(flight, batch, features)]
        made: list[list[Outcome]] = [[] for _ in batch.refs]
        if rows:
            for row, one in zip(rows, self._decide_alone(flight, *_picked(batch, features, rows=rows)), strict=True):
                made[row] = [replace(one, timing=replace(one.timing, size=batch.size, n_real=batch.n_real))]
        else:
            self._observe(batch, self._clock.monotonic() - flight.started_at)
        self._gather(flight, features, made=made)
        return made

    def _decide_alone(self, flight: _Flight, batch: Batch, features: Features) -> list[Prediction]:
        """Frame by frame; `batch` holds those of the flight that are no part's."""
        live = flight.live
        scores = live.head.score(features)
        ended_at = self._clock.monotonic()
        infer_s = ended_at - flight.started_at
        self._observe(flight.batch, infer_s)
        predictions = live.decider.decide(scores, batch=batch, decided_at=ended_at, infer_s=infer_s)
        if self._tap is not None:
            self._tap(batch, features, scores, predictions, live)
        return predictions

    def _gather(self, flight: _Flight, features: Features, *, made: list[list[Outcome]]) -> None:
        """Give the frames of parts to their parts; what each of them closed goes to its place in `made`."""
        if self._parts is None:
            return
        infer_s = self._clock.monotonic() - flight.started_at
        closed: list[tuple[int, Part]] = []
        for row, ref in enumerate(flight.batch.refs):
            if not self._parts.takes(ref):
                continue
            parts, taken = self._parts.add(flight.batch, row=row, features=features, infer_s=infer_s)
            closed += [(row, part) for part in parts]
            if not taken:
                self._ledger.dropped(ref, reason="late_part")
        for (row, _), outcomes in zip(closed, self._judged([part for _, part in closed]), strict=True):
            made[row] += outcomes

    def _close_parts(self, flights: Sequence[_Flight], *, all_of_them: bool = False) -> None:
        """Decide the parts whose time is over, or at the end of the line all that are open."""
        if self._parts is None or (not all_of_them and self._parts.wait_s(IDLE_S) > 0.0):
            return
        busy = {frame.ref.account for flight in flights for frame in flight.frames}
        parts = (
            self._parts.drain()
            if all_of_them
            else self._parts.due(quiet=lambda source: source not in busy and not self._frames.holds(source))
        )
        if parts:
            self._put([one for outcomes in self._judged(parts) for one in outcomes])

    def _judged(self, parts: Sequence[Part]) -> list[list[Outcome]]:
        """The outcome of each part; the frames of one that the head fails on are set aside together."""
        assert self._parts is not None
        try:
            return [[one] for one in self._parts.decide(parts, live=self._live)]
        except Exception as error:  # noqa: BLE001 - as for a batch of frames
            if len(parts) > 1:
                return [self._judged([part])[0] for part in parts]
            [first, *_] = members = parts[0].members
            assert first.pixels is not None
            self._prove(Frame(first.ref, first.pixels))
            return [[_letter(one.ref, evidence=one.evidence, error=error) for one in members]]

    def _refused(self, frame: Frame, error: Exception) -> DeadLetter:
        """One frame's letter, after making sure that an empty picture still passes: else the encoder is broken."""
        self._prove(frame)
        return _letter(frame.ref, evidence=frame.evidence, error=error)

    def _prove(self, frame: Frame) -> None:
        """Raise what is broken for every picture."""
        flight = self._start([Frame(frame.ref, np.zeros_like(frame.image))])
        features = flight.collect()
        _check_finite(features, n=1)
        flight.live.head.score(features)

    def _put(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        try:
            self._outcomes.put(outcomes, lane=LANE)
        except ChannelClosed:
            for ref in (ref for one in outcomes for ref in one.refs):
                self._ledger.dropped(ref, reason="shutdown")


def _check_finite(features: Features, *, n: int) -> None:
    bad = np.flatnonzero(~np.isfinite(features.image[:n]).all(axis=1))
    if bad.size:
        raise DataError(f"encoder: expected finite embeddings, got NaN or infinity in rows {bad.tolist()} of {n}")


def _picked(batch: Batch, features: Features, *, rows: list[int]) -> tuple[Batch, Features]:
    """Some rows of a batch, as a batch."""
    some = replace(
        batch,
        pixels=batch.pixels[rows],
        refs=tuple(batch.refs[row] for row in rows),
        evidence=tuple(batch.evidence[row] for row in rows),
    )
    return some, Features(features.image[rows], tuple(level[rows] for level in features.levels))


def _letter(ref: FrameRef, *, evidence: bytes | None, error: Exception) -> DeadLetter:
    log.warning("frame refused", event_id=ref.event_id, cause=repr(error))
    return DeadLetter(
        source_id=ref.source_id, reason="inference", message=repr(error), original=evidence or b"", ref=ref
    )


def _raise(error: Exception) -> NoReturn:
    raise error
