"""Frames from a topic: many cameras through one source, each keeping its name; a consumer group is how it scales."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaError

from pipeline.errors import SinkError, SourceUnavailable
from pipeline.interfaces import Clock
from pipeline.types import SourceFrame
from workers.kafka.connection import KafkaConnection
from workers.kafka.consumer import ConsumerTerms, Fetched, GroupConsumer, Observe
from workers.kafka.diagnose import why
from workers.kafka.message import PART, KafkaPosition, read_frame
from workers.kafka.offsets import Partition

READ_TIMEOUT_S = 0.5
LEAVE_S = 2.0  # for a consumer that is given up, before the next one joins


class KafkaSource:
    """Never drops: what the line does not take stays on the topic. Offsets are committed up to what has ended.

    `ack` may come from any thread; the rest belongs to the capture thread, but for `close` and `settle`.
    """

    live = False

    def __init__(
        self,
        source_id: str,
        *,
        connection: KafkaConnection,
        terms: ConsumerTerms,
        clock: Clock,
        observe: Observe,
        part_header: str = PART,
    ) -> None:
        self._source_id = source_id
        self._connection = connection
        self._terms = terms
        self._clock = clock
        self._observe = observe
        self._part_header = part_header
        self._tenures = itertools.count(1)
        self._lock = threading.Lock()
        self._consumer: GroupConsumer | None = None
        self.before_first_join: Callable[[], None] | None = None  # may raise SinkError; assigned before `open`

    @property
    def source_id(self) -> str:
        """Names the topic's reader in metrics; events carry the cameras' own names."""
        return self._source_id

    @property
    def topic(self) -> str:
        """What is read."""
        return self._terms.topic

    @property
    def group(self) -> str:
        """Whose offsets are kept."""
        return self._terms.group

    def open(self) -> None:
        """Join the group. Blocks for the connection. Raises SourceUnavailable with the cause found."""
        self._leave(timeout_s=LEAVE_S)
        self._prepare()
        try:
            consumer = GroupConsumer(
                self._connection, terms=self._terms, clock=self._clock, observe=self._observe, tenures=self._tenures
            )
        except (KafkaError, OSError, ValueError, RuntimeError) as error:  # the client raises the last two of its own
            raise self._unavailable(error) from error
        with self._lock:
            self._consumer = consumer

    def _prepare(self) -> None:
        if self.before_first_join is None:
            return
        try:
            self.before_first_join()
        except SinkError as error:
            raise SourceUnavailable(f"source {self._source_id}: {error}") from error
        self.before_first_join = None

    def read(self) -> SourceFrame | None:
        """The next frame of any camera. Raises BadFrame with its position, or SourceUnavailable."""
        consumer = self._consumer
        if consumer is None:
            raise SourceUnavailable(f"source {self._source_id}: read needs an open source; call open first")
        try:
            fetched = consumer.take(timeout_s=READ_TIMEOUT_S)
        except Exception as error:
            raise self._unavailable(error) from error
        return None if fetched is None else self._frame(fetched)

    def ack(self, position: object) -> None:
        """This message and all before it of its partition have come to an end."""
        if isinstance(position, KafkaPosition) and (consumer := self._consumer) is not None:
            partition = (position.topic, position.partition)
            consumer.book.ended(partition, offset=position.offset, tenure=position.tenure)

    def close(self) -> None:
        """Hand out no more; what is out is still committed as it ends, until `settle`."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()

    def settle(self, *, timeout_s: float) -> None:
        """After the last `ack`: commit and leave the group. Blocks at most `timeout_s`."""
        self._leave(timeout_s=timeout_s)

    def owns(self, position: KafkaPosition) -> bool:
        """Whether its partition is still read here, under the tenure the message came in."""
        consumer = self._consumer
        partition: Partition = (position.topic, position.partition)
        return consumer is not None and consumer.book.tenure(partition) == position.tenure

    @property
    def group_metadata(self) -> Any:
        """Who we are in the group at this moment; None when not open."""
        consumer = self._consumer
        return None if consumer is None else consumer.group_metadata

    def _leave(self, *, timeout_s: float) -> None:
        with self._lock:
            consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.leave(timeout_s=timeout_s)

    def _frame(self, fetched: Fetched) -> SourceFrame:
        record = fetched.record
        position = KafkaPosition(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            tenure=fetched.tenure,
            timestamp_ms=record.timestamp,
            key=record.key,
            headers=tuple((name, value or b"") for name, value in record.headers),
        )
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        message = read_frame(
            record.value,
            position=position,
            where=where,
            max_bytes=self._terms.max_message_bytes,
            part_header=self._part_header,
        )
        return SourceFrame(
            image=message.image,
            captured_at=message.captured_at,
            capture_time_source=message.capture_time_source,
            received_at=self._clock.monotonic(),
            position=position,
            truth=message.truth,
            evidence=record.value,
            name=message.name,
            origin=message.origin,
            part=message.part,
        )

    def _unavailable(self, error: BaseException) -> SourceUnavailable:
        return SourceUnavailable(f"source {self._source_id}: {why(self._connection, error)}")
