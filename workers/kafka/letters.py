"""Dead letters on their topic: read, understood, put back where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from workers.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

MAX_REPLAYS = 3
OWN = "dlq_"  # begins every header that is ours; the others are the message's own
_KEPT = ("dlq_original_partition", "dlq_original_offset", "dlq_original_timestamp")  # go along with a replayed message
_POLL_MS = 500
_SILENT_POLLS = 20  # that many in a row without a record: the broker does not give what it said it has
_DELIVERY_S = 30.0

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that could not be read."""

    id: str  # partition:offset on the topic of letters, or the line of a file
    time: str  # RFC 3339, when it was put aside
    reason: str
    message: str
    source: str
    event_id: str
    topic: str | None  # where it came from; None: not from a topic, as of a camera
    partition: int | None
    offset: int | None
    replays: int  # how often it was put back already
    n_cut: int  # bytes left out because the letter would have been too large; 0: it is whole
    key: bytes | None = field(repr=False)
    value: bytes = field(repr=False)
    headers: Headers = field(repr=False)

    def refusal(self) -> str | None:
        """Why it cannot be put back; None where it can."""
        if self.topic is None:
            return f"it came from {self.source}, which is no topic"
        if self.n_cut:
            return f"its {self.n_cut} bytes were too large to be kept"
        if self.replays >= MAX_REPLAYS:
            return f"it was put back {self.replays} times already, the limit is {MAX_REPLAYS}; repair its producer"
        return None

    def headers_to_replay(self) -> list[tuple[str, bytes]]:
        """Its own, as they were, then where it lay before and how often it was put back."""
        own = [(name, value) for name, value in self.headers if not name.startswith(OWN)]
        kept = [(name, value) for name, value in self.headers if name in _KEPT]
        return [*own, *kept, ("dlq_replays", str(self.replays + 1).encode())]


def read_letters(connection: KafkaConnection, *, topic: str) -> Iterator[Letter]:
    """All letters that are there now, partition by partition, oldest first; commits nothing.

    Raises kafka.errors.KafkaError; DataError where the broker stops giving.
    """
    from kafka import TopicPartition

    consumer = _consumer(connection)
    try:
        partitions = [TopicPartition(topic, number) for number in _partitions(consumer, topic)]
        ends = consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
            yield from _until(consumer, partition, end=ends[partition])
    finally:
        consumer.close()


def read_letter(connection: KafkaConnection, *, topic: str, letter_id: str) -> Letter:
    """The letter of `partition:offset`. Raises DataError where there is none, kafka.errors.KafkaError."""
    from kafka import TopicPartition

    number, colon, offset = letter_id.partition(":")
    if not (colon and number.isdecimal() and offset.isdecimal()):
        raise DataError(f"letter {letter_id!r}: expected partition:offset as `clearline dlq list` prints it, e.g. 0:17")
    partition = TopicPartition(topic, int(number))
    consumer = _consumer(connection)
    try:
        if partition.partition in _partitions(consumer, topic):
            begin, end = (
                consumer.beginning_offsets([partition])[partition],
                consumer.end_offsets([partition])[partition],
            )
            if begin <= int(offset) < end:
                consumer.assign([partition])
                consumer.seek(partition, int(offset))
                found = next(_until(consumer, partition, end=end), None)
                if found is not None and found.id == letter_id:
                    return found
    finally:
        consumer.close()
    raise DataError(f"letter {letter_id} on {topic}: expected one that is there, got none; see `clearline dlq list`")


def replay(producer: KafkaProducer, letter: Letter) -> None:
    """Put it back on its topic, delivered when this returns. Raises kafka.errors.KafkaError."""
    assert letter.topic is not None  # `refusal` was asked
    sent = producer.send(letter.topic, key=letter.key, value=letter.value, headers=letter.headers_to_replay())
    sent.get(timeout=_DELIVERY_S)


def replaying_producer(connection: KafkaConnection, *, max_message_bytes: int) -> KafkaProducer:
    """For `replay`; close it. Raises kafka.errors.KafkaError."""
    from kafka import KafkaProducer

    return KafkaProducer(
        **connection.kwargs(),
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        allow_auto_create_topics=False,
        max_request_size=max_message_bytes,
        max_block_ms=round(connection.api_timeout_s * 1e3),
    )


def _consumer(connection: KafkaConnection) -> KafkaConsumer:
    from kafka import KafkaConsumer

    return KafkaConsumer(
        **connection.kwargs(),
        group_id=None,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        max_poll_records=50,
    )


def _partitions(consumer: KafkaConsumer, topic: str) -> list[int]:
    """Their numbers. Raises kafka.errors.UnknownTopicOrPartitionError where the topic is not to be seen."""
    from kafka.errors import UnknownTopicOrPartitionError

    found = consumer.partitions_for_topic(topic)
    if not found:
        raise UnknownTopicOrPartitionError(topic)
    return sorted(found)


def _until(consumer: KafkaConsumer, partition: TopicPartition, *, end: int) -> Iterator[Letter]:
    """From where the consumer stands to `end`, which is not read any more."""
    n_silent = 0
    while consumer.position(partition) < end:
        records = consumer.poll(timeout_ms=_POLL_MS).get(partition, [])
        for record in records:
            if record.offset >= end:
                return
            yield _letter(record)
        n_silent = 0 if records else n_silent + 1
        if n_silent > _SILENT_POLLS:
            raise DataError(
                f"{partition.topic}: expected {end} letters in partition {partition.partition}, got none after "
                f"{consumer.position(partition)} for {_SILENT_POLLS * _POLL_MS / 1e3:.0f} s; look at the broker"
            )


def _letter(record: Any) -> Letter:
    headers = tuple((str(name), bytes(value or b"")) for name, value in record.headers)
    told = {name: value.decode("utf-8", "backslashreplace") for name, value in headers}
    return Letter(
        id=f"{record.partition}:{record.offset}",
        time=told.get("dlq_time", ""),
        reason=told.get("dlq_reason", "unknown"),
        message=told.get("dlq_message", ""),
        source=told.get("dlq_source", ""),
        event_id=told.get("dlq_event_id", ""),
        topic=told.get("dlq_original_topic") or None,
        partition=_whole(told.get("dlq_original_partition")),
        offset=_whole(told.get("dlq_original_offset")),
        replays=_whole(told.get("dlq_replays")) or 0,
        n_cut=_whole(told.get("dlq_cut_bytes")) or 0,
        key=record.key,
        value=record.value or b"",
        headers=headers,
    )


def _whole(text: str | None) -> int | None:
    """None where a foreign hand wrote something else."""
    return int(text) if text is not None and text.isdecimal() else None
