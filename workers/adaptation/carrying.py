"""The loop in a process of its own: decided batches onto a topic on one side, off it on the other."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from pipeline.errors import DataError, SinkError
from pipeline.interfaces import Clock
from workers.adaptation.tap import LANE, Seen, Tap
from workers.adaptation.wire import from_bytes, to_bytes
from workers.backoff import Backoff
from workers.channel import Channel, ChannelClosed
from workers.kafka.connection import KafkaConnection
from workers.kafka.diagnose import why
from workers.kafka.producer import ParcelProducer
from workers.outbox.store import Parcel

log = structlog.get_logger()

IDLE_S = 1.0
SENT_TOGETHER = 32  # batches
PARTS_PER_MESSAGE = 64  # with pictures about a megabyte
POLL_MS = 500


class Sender:
    """Beside an inference worker. `run` belongs to one thread, `close` may be called from any."""

    def __init__(
        self,
        tap: Tap,
        *,
        producer: ParcelProducer,
        topic: str,
        backoff: Backoff,
        clock: Clock,
        look: Callable[[], None],
        left_out: Callable[[int], None],
    ) -> None:
        """`look` is called about once a second; `left_out` is told how many parts the broker was too slow for."""
        self._tap, self._producer, self._topic = tap, producer, topic
        self._backoff, self._clock, self._look, self._left_out = backoff, clock, look, left_out
        self._n_left_out = 0
        self._look_at = float("-inf")
        tap.wants_pictures = True  # the audit may draw any part

    def run(self) -> None:
        """Return when the tap is closed and empty, or the broker is away after that."""
        try:
            while not self._tap.batches.exhausted:
                batches = self._tap.batches.take(rows=lambda n: min(n, SENT_TOGETHER), timeout_s=IDLE_S)
                if batches and not self._sent([self._parcel(part) for one in batches for part in _cut(one)]):
                    return
                if self._clock.monotonic() >= self._look_at:
                    self._look_at = self._clock.monotonic() + IDLE_S
                    self._look()
                    self._left_out(self._tap.n_left_out - self._n_left_out)
                    self._n_left_out = self._tap.n_left_out
        finally:
            self._producer.close()

    def close(self) -> None:
        """End after what is in the tap."""
        self._tap.close()

    def _sent(self, parcels: list[Parcel]) -> bool:
        """Again and again, while the tap leaves out its oldest; False where the line ends first."""
        while True:
            try:
                self._producer.send(parcels)
            except SinkError as error:
                delay_s = self._backoff.next_delay()
                log.warning("decided batches wait for the broker", cause=str(error), retry_in_s=round(delay_s, 2))
                self._look()
                if self._tap.is_closed or self._clock.wait(delay_s):
                    return False
            else:
                self._backoff.reset()
                return True

    def _parcel(self, seen: Seen) -> Parcel:
        first = seen.predictions[0].ref
        return Parcel(
            key=first.source_id.encode(),
            value=to_bytes(seen),
            headers=(("content-type", b"application/x-safetensors"),),
            topic=self._topic,
            event_id=first.event_id,
        )


class Receiver:
    """Before the loop: the topic into its tap, which holds up the reader instead of leaving anything out.

    Offsets are committed once the batches are in the tap: after a crash some parts are missing from charts and
    recording, which both stand; none is counted twice.
    """

    def __init__(
        self,
        batches: Channel[Seen],
        *,
        connection: KafkaConnection,
        topic: str,
        group: str,
        backoff: Backoff,
        clock: Clock,
        unreadable: Callable[[], None],
    ) -> None:
        self._batches, self._connection, self._topic, self._group = batches, connection, topic, group
        self._backoff, self._clock, self._unreadable = backoff, clock, unreadable
        self._closing = False
        self.failing: str | None = "the topic of decided batches has not been read yet"
        self.n_parts = 0

    def run(self) -> None:
        """Read until `close`."""
        while not self._closing:
            try:
                self._read()
            except ChannelClosed:
                return
            except (KafkaError, OSError) as error:
                self.failing = why(self._connection, error)
                delay_s = self._backoff.next_delay()
                log.warning("topic of decided batches lost", cause=self.failing, retry_in_s=round(delay_s, 2))
                self._clock.wait(delay_s)

    def close(self) -> None:
        """End after the poll that goes on."""
        self._closing = True

    def _read(self) -> None:
        consumer = KafkaConsumer(
            self._topic,
            **self._connection.kwargs(),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="latest",  # what was decided before there was a loop is not its normal
            allow_auto_create_topics=False,
        )
        try:
            while not self._closing:
                records = [one for found in consumer.poll(timeout_ms=POLL_MS).values() for one in found]
                if consumer.assignment():
                    self._backoff.reset()
                    self.failing = None
                for one in records:
                    self._take(one.value or b"")
                if records:
                    consumer.commit()
        finally:
            consumer.close(autocommit=False, timeout_ms=2_000)

    def _take(self, content: bytes) -> None:
        try:
            seen = from_bytes(content)
        except DataError as error:
            self._unreadable()
            log.warning("left out", cause=str(error))
            return
        self._batches.put(seen, lane=LANE)
        self.n_parts += len(seen.predictions)


def _cut(seen: Seen) -> list[Seen]:
    """In messages of a size that topics take."""
    n = len(seen.predictions)
    return [_rows(seen, slice(at, at + PARTS_PER_MESSAGE)) for at in range(0, n, PARTS_PER_MESSAGE)]


def _rows(seen: Seen, rows: slice) -> Seen:
    return Seen(
        predictions=seen.predictions[rows],
        image=seen.image[rows],
        probabilities=seen.probabilities[rows],
        labels=seen.labels[rows],
        novelty=None if seen.novelty is None else seen.novelty[rows],
        pixels=None if seen.pixels is None else seen.pixels[rows],
        head_version=seen.head_version,
    )
