"""The one thread that talks to the sinks: a frame is delivered only when every sink has taken it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, groupby

import structlog

from pipeline.errors import SinkError
from pipeline.interfaces import Clock, Sink
from pipeline.types import DeadLetter, FrameRef, Prediction
from workers.backoff import Backoff
from workers.channel import Channel
from workers.ledger import Ledger

log = structlog.get_logger()

Outcome = Prediction | DeadLetter
IDLE_S = 0.5


class Publish:
    """`run` belongs to one thread; `abandon` may be called from any."""

    def __init__(
        self,
        *,
        outcomes: Channel[list[Outcome]],
        sinks: Sequence[Sink],
        ledger: Ledger,
        clock: Clock,
        backoff: Callable[[], Backoff],
        on_delivered: Callable[[Sequence[Prediction]], None],
        on_sink: Callable[[str, int, float | None], None],
        pace_s: float = 0.0,
    ) -> None:
        """`on_sink(sink, n, seconds)` is told of every attempt; seconds is None for one that failed.

        Deliveries begin at least `pace_s` apart, since a sink may cost by the delivery and hardly by the result. What
        comes after a quiet moment is delivered at once.
        """
        self._outcomes = outcomes
        self._sinks = sinks
        self._ledger = ledger
        self._clock = clock
        self._backoff = backoff
        self._on_delivered = on_delivered
        self._on_sink = on_sink
        self._pace_s = pace_s
        self._abandoned = False
        self.failing: str | None = None  # what a sink said last, while it refuses

    def abandon(self) -> None:
        """Give up on sinks that refuse: what they have not taken is dropped and counted. For a shutdown that is due."""
        self._abandoned = True

    def run(self) -> None:
        """Return when the outcomes channel is closed and empty; closes the sinks, which belong to this thread."""
        try:
            self._run()
        finally:
            for sink in self._sinks:
                sink.close()

    def _run(self) -> None:
        next_at = self._clock.monotonic()
        while True:
            if (early_s := next_at - self._clock.monotonic()) > 0.0:
                self._clock.wait(early_s)
            outcomes = list(chain.from_iterable(self._outcomes.take(timeout_s=IDLE_S)))
            next_at = self._clock.monotonic() + self._pace_s
            for kind, run in groupby(outcomes, key=type):  # in order: a transaction may end between any two runs
                if kind is Prediction:
                    self._deliver([one for one in run if isinstance(one, Prediction)])
                    continue
                for letter in run:
                    if isinstance(letter, DeadLetter):
                        self._dead_letter(letter)
            if not outcomes:
                self._flush()
                if self._outcomes.exhausted:
                    return

    def _deliver(self, predictions: list[Prediction]) -> None:
        for sink in self._sinks:
            if not self._insist(sink, lambda sink=sink: sink.deliver(predictions), n=len(predictions)):  # type: ignore[misc]
                self._drop([ref for one in predictions for ref in one.refs])
                return
        for one in predictions:
            for ref in one.refs:
                self._ledger.delivered(ref)
        self._on_delivered(predictions)

    def _dead_letter(self, letter: DeadLetter) -> None:
        for sink in self._sinks:
            if not self._insist(sink, lambda sink=sink: sink.dead_letter(letter), n=1):  # type: ignore[misc]
                self._drop([letter.ref])
                return
        self._ledger.dead_lettered(letter.ref, reason=letter.reason)

    def _flush(self) -> None:
        """Nothing came for a while: leave nothing in a buffer."""
        for sink in self._sinks:
            try:
                sink.flush()
            except SinkError as error:
                self._on_sink(sink.name, 0, None)
                log.warning("sink does not flush", sink=sink.name, cause=str(error))

    def _insist(self, sink: Sink, attempt: Callable[[], None], *, n: int) -> bool:
        """Try until the sink has taken it; False when abandoned first. Upstream the policy of each source rules."""
        backoff = self._backoff()
        while True:
            started_at = self._clock.monotonic()
            try:
                attempt()
            except SinkError as error:
                self._on_sink(sink.name, n, None)
                self.failing = f"{sink.name}: {error}"
                if self._abandoned:
                    return False
                delay_s = backoff.next_delay()
                log.warning("sink refuses", sink=sink.name, cause=str(error), retry_in_s=round(delay_s, 2))
                self._clock.wait(delay_s)
            else:
                self.failing = None
                self._on_sink(sink.name, n, self._clock.monotonic() - started_at)
                return True

    def _drop(self, refs: Sequence[FrameRef]) -> None:
        for ref in refs:
            self._ledger.dropped(ref, reason="undelivered")
