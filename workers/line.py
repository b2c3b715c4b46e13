"""One running line: its threads from source to sink, its status, its balance. Knows no configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pipeline.batcher import Batcher
from pipeline.interfaces import Encoder, InterruptibleSink, Sink
from pipeline.types import Batch, Prediction
from workers.backoff import Backoff
from workers.capture import Item
from workers.captures import Captures, Feed, counts_as_json
from workers.channel import Channel
from workers.clock import SystemClock
from workers.inference import Inference
from workers.ledger import Counts, Ledger
from workers.live_head import LiveHead, TapLike
from workers.metrics.registry import Metrics
from workers.part_decisions import PartsPlan
from workers.publish import Outcome, Publish
from workers.quality import Quality
from workers.running import Running
from workers.supervisor import Stage
from workers.tally import Tally, TallySummary

SINK_RETRY_S = (0.1, 5.0)  # first and longest wait before a refusing sink is asked again
DRAIN_RATIO = 0.5  # of the time for a stop: the least that is left for draining, however many sources have to settle
SINK_GRACE_S = 6.0  # for sinks that were interrupted: one that is connecting, or finding out why not, ends in it


class Beside(Protocol):
    """A thread that is fed by the tap and ends after the line's own stages."""

    def run(self) -> None:
        """Return after `close`, when nothing is left."""
        ...

    def close(self) -> None:
        """End soon."""
        ...


class Line(Running):
    """Built stopped. `start`, `wait` and `stop` belong to the owner's thread; everything else may be asked from any."""

    def __init__(
        self,
        *,
        feeds: Sequence[Feed],
        encoder: Encoder,
        live: LiveHead,
        batcher: Batcher,
        sinks: Sequence[Sink],
        metrics: Metrics,
        capture_clock: SystemClock,
        queue_batches: int,
        publish_pace_s: float = 0.0,
        tap: TapLike | None = None,
        beside: Beside | None = None,
        parts: PartsPlan | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`capture_clock` is the one the sources wait on: it is closed when the line stops.

        With `parts` the frames of some cameras are decided part by part. `ledger` where a sink has to know it too.
        Deliveries to the sinks begin at least `publish_pace_s` apart.
        """
        self._publish_clock, self._clock = SystemClock(), SystemClock()
        self._sinks = sinks
        self._metrics = metrics
        self.ledger = Ledger() if ledger is None else ledger
        self.tally = Tally()
        self.quality = Quality(on_cost=metrics.expected_cost)
        self._frames: Channel[Item] = Channel(capacity=batcher.largest, clock=self._clock)
        self._outcomes: Channel[list[Outcome]] = Channel(capacity=queue_batches, clock=self._clock)
        self._captures = Captures(feeds, frames=self._frames, ledger=self.ledger, metrics=metrics, clock=capture_clock)
        self._inference = self._make_inference(encoder, live=live, batcher=batcher, tap=tap, parts=parts)
        self._publish = self._make_publish(publish_pace_s)
        self._beside = beside
        super().__init__(self._stages(), clock=self._clock)
        metrics.bind_ledger(self.ledger.counts)
        metrics.bind_readings(self.quality.readings)
        self._last: dict[str, Prediction] = {}

    def stop(self, *, timeout_s: float) -> None:
        """Drain in flow order, and let the sources settle. Raises WorkerDied (with its cause) or ShutdownTimeout."""
        try:
            super().stop(timeout_s=max(timeout_s - self._captures.settle_s, DRAIN_RATIO * timeout_s))
        finally:
            self._captures.settle()
        self._stopped_at = self._clock.monotonic()

    def swap(self, live: LiveHead) -> None:
        """Another head, from the next batch on."""
        self._inference.swap(live)

    def last_result(self, source_id: str) -> Prediction | None:
        """The newest delivered prediction of a source."""
        return self._last.get(source_id)

    def unready(self) -> list[str]:
        """Why results are not flowing although the process is sound; empty when they are."""
        refusing = [f"sink {self._publish.failing}"] if self._publish.failing else []
        return refusing + self._captures.unready()

    def status(self) -> dict[str, Any]:
        """What /status says of sources and counts."""
        return {
            "running_s": round(self.running_s, 1),
            "sources": self._captures.status(),
            "total": counts_as_json(self.ledger.total()),
        }

    def summary(self) -> tuple[Counts, TallySummary]:
        """The balance and the figures so far."""
        return self.ledger.total(), self.tally.summary()

    @property
    def live(self) -> LiveHead:
        """The head that the next batch will meet."""
        return self._inference.live

    def _make_inference(
        self, encoder: Encoder, *, live: LiveHead, batcher: Batcher, tap: TapLike | None, parts: PartsPlan | None
    ) -> Inference:
        return Inference(
            encoder=encoder,
            live=live,
            batcher=batcher,
            frames=self._frames,
            outcomes=self._outcomes,
            ledger=self.ledger,
            clock=self._clock,
            observe=self._on_batch,
            tap=tap,
            parts=parts,
        )

    def _make_publish(self, pace_s: float) -> Publish:
        return Publish(
            outcomes=self._outcomes,
            sinks=self._sinks,
            ledger=self.ledger,
            clock=self._publish_clock,
            backoff=lambda: Backoff(initial_s=SINK_RETRY_S[0], cap_s=SINK_RETRY_S[1]),
            on_delivered=self._on_delivered,
            on_sink=self._metrics.sink_attempted,
            pace_s=pace_s,
        )

    def _stages(self) -> list[Stage]:
        return [
            Stage("capture", self._captures.runs, self._captures.close, self._frames.close),
            Stage("inference", [self._inference.run], self._frames.close, self._outcomes.close),
            Stage("publish", [self._publish.run], self._outcomes.close, self._abandon_sinks, SINK_GRACE_S),
            *([] if self._beside is None else [Stage("adaptation", [self._beside.run], self._beside.close)]),
        ]

    def _abandon_sinks(self) -> None:
        self._publish.abandon()
        for sink in self._sinks:
            if isinstance(sink, InterruptibleSink):
                sink.interrupt()
        self._publish_clock.close()

    def _on_batch(self, batch: Batch, infer_s: float) -> None:
        waits = [batch.formed_at - ref.received_at for ref in batch.refs]
        self._metrics.batch(batch.size, batch.n_real, waits, infer_s)

    def _on_delivered(self, predictions: Sequence[Prediction]) -> None:
        now = self._clock.monotonic()
        self.tally.add(predictions, now=now)
        self.quality.add(predictions, decider=self.live.decider)
        for one in predictions:
            self._metrics.predicted(one)
            self._last[one.ref.source_id] = one


Say = Callable[[str], None]  # where progress lines go


def quiet(_: str) -> None:
    """Says nothing."""
