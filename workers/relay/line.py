"""A process that only captures: cameras to a topic of frames, with the same balance, status and shutdown as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.types import Prediction
from workers.backoff import Backoff
from workers.capture import Item
from workers.captures import Captures, Feed, counts_as_json
from workers.channel import Channel
from workers.clock import SystemClock
from workers.kafka.packing import Packer
from workers.kafka.producer import ParcelProducer
from workers.ledger import Counts, Ledger
from workers.line import SINK_GRACE_S, SINK_RETRY_S
from workers.metrics.registry import Metrics
from workers.relay.relay import Relay
from workers.running import Running
from workers.supervisor import Stage
from workers.tally import Tally, TallySummary

DEFAULT_LANE = 8  # frames; every feed reserves its own


class RelayLine(Running):
    """Built stopped; used as a Line is."""

    def __init__(
        self,
        *,
        feeds: Sequence[Feed],
        producer: ParcelProducer,
        packer: Packer,
        topic: str,
        metrics: Metrics,
        capture_clock: SystemClock,
    ) -> None:
        self._clock = SystemClock()
        self._relay_clock = SystemClock()
        self.ledger = Ledger()
        self._frames: Channel[Item] = Channel(capacity=DEFAULT_LANE, clock=self._clock)
        self._captures = Captures(feeds, frames=self._frames, ledger=self.ledger, metrics=metrics, clock=capture_clock)
        self._relay = Relay(
            frames=self._frames,
            producer=producer,
            packer=packer,
            topic=topic,
            ledger=self.ledger,
            clock=self._relay_clock,
            backoff=Backoff(initial_s=SINK_RETRY_S[0], cap_s=SINK_RETRY_S[1]),
            on_sink=metrics.sink_attempted,
        )
        super().__init__(self._stages(), clock=self._clock)
        metrics.bind_ledger(self.ledger.counts)

    def last_result(self, source_id: str) -> Prediction | None:  # noqa: ARG002  # as a Line's
        """None: whoever reads the topic decides."""
        return None

    def unready(self) -> list[str]:
        """Why frames are not flowing although the process is sound; empty when they are."""
        refusing = [self._relay.failing] if self._relay.failing else []
        return refusing + self._captures.unready()

    def status(self) -> dict[str, Any]:
        """What /status says of sources and counts."""
        return {
            "running_s": round(self.running_s, 1),
            "sources": self._captures.status(),
            "total": counts_as_json(self.ledger.total()),
        }

    def summary(self) -> tuple[Counts, TallySummary]:
        """The balance; nothing was decided here."""
        return self.ledger.total(), Tally().summary()

    def _stages(self) -> list[Stage]:
        return [
            Stage("capture", self._captures.runs, self._captures.close, self._frames.close),
            Stage("relay", [self._relay.run], self._frames.close, self._abandon, SINK_GRACE_S),
        ]

    def _abandon(self) -> None:
        self._relay.abandon()
        self._relay_clock.close()
