"""What a foreign client sees on a topic, and puts there."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import confluent_kafka

READ_S = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One record."""

    key: bytes | None
    value: bytes
    headers: dict[str, bytes]


def read_topic(bootstrap: str, topic: str, *, partition: int = 0) -> list[Message]:
    """All of one partition that is there now and committed, in order."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0)])
    found: list[Message] = []
    try:
        while True:
            message = consumer.poll(READ_S)
            assert message is not None, f"{topic}: no end within {READ_S} s"
            error = message.error()
            if error is not None:
                assert error.code() == confluent_kafka.KafkaError._PARTITION_EOF, error
                return found
            headers = {name: _bytes(value) for name, value in dict(message.headers() or []).items()}
            found.append(Message(message.key(), message.value() or b"", headers))
    finally:
        consumer.close()


def write_topic(bootstrap: str, topic: str, messages: Iterable[Message]) -> None:
    """All delivered when this returns."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for one in messages:
        headers: list[tuple[str, str | bytes | None]] = list(one.headers.items())
        producer.produce(topic, value=one.value, key=one.key, headers=headers)
        producer.poll(0)
    assert producer.flush(READ_S) == 0


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
