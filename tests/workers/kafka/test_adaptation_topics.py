"""Alarms and heads out, labels in, over a real broker."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import TopicPartition

from pipeline.errors import DataError
from tests.kafka_topics import read_topic
from tests.servers.kafka import KafkaBroker
from workers.adaptation.topics import Announcer, LabelTopic
from workers.backoff import Backoff
from workers.clock import SystemClock
from workers.kafka.connection import KafkaConnection
from workers.kafka.producer import ParcelProducer

WITHIN_S = 20.0


def backoff() -> Backoff:
    return Backoff(initial_s=0.1, cap_s=0.5, rng=random.Random(0))


def connection(broker: KafkaBroker) -> KafkaConnection:
    return KafkaConnection(bootstrap=(broker.bootstrap,), api_timeout_s=5.0, request_timeout_s=5.0)


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {WITHIN_S} s"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "told", "key", "says"),
    [
        ("heads", {"step": 3, "champion": 2}, b"caps", b"clearline.head.v1"),
        ("drift", {"step": 3, "source_id": "cap-07", "cause": "lighting"}, b"cap-07", b"clearline.drift.v1"),
    ],
)
def test_heads_are_announced_by_line_and_alarms_by_camera_as_cloud_events(
    kafka_broker: KafkaBroker, kind: str, told: dict[str, Any], key: bytes, says: bytes
) -> None:
    topic = kafka_broker.new_topic(kind)
    announcer = Announcer(
        ParcelProducer(connection(kafka_broker), max_message_bytes=1_000_000),
        topics={kind: topic},
        line="caps",
        clock=SystemClock(),
        backoff=backoff(),
    )
    announcer.announce(kind, told)
    announcer.close(timeout_s=WITHIN_S)
    [record] = read_topic(kafka_broker.bootstrap, topic)
    assert (record.key, record.headers["ce_type"]) == (key, says)
    assert told.items() <= json.loads(record.value).items()


def test_labels_are_committed_only_when_they_are_written_down(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic("labels")
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap)
    for n in range(3):
        producer.send(topic, json.dumps({"event_id": f"cap-01-1-{n}-full", "label": "ok"}).encode())
    producer.send(topic, b"no json")
    producer.flush()
    producer.close()
    group = f"labels-{topic}"
    taken: list[Mapping[str, Any]] = []
    assert committed(kafka_broker, topic=topic, group=group) is None
    reader = LabelTopic(
        connection(kafka_broker),
        topic=topic,
        group=group,
        write_down=taken.append,
        clock=SystemClock(),
        backoff=backoff(),
    )
    wait_for(lambda: committed(kafka_broker, topic=topic, group=group) == 4)
    reader.close(timeout_s=WITHIN_S)
    assert [one.get("event_id") for one in taken[:3]] == [f"cap-01-1-{n}-full" for n in range(3)]
    assert taken[3] == {"unreadable": "b'no json'"}


def test_labels_that_could_not_be_written_down_are_read_again(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic("labels")
    producer = KafkaProducer(bootstrap_servers=kafka_broker.bootstrap)
    producer.send(topic, json.dumps({"event_id": "cap-01-1-0-full"}).encode())
    producer.flush()
    producer.close()
    tried: list[Mapping[str, Any]] = []

    def refuse_once(label: Mapping[str, Any]) -> None:
        tried.append(label)
        if len(tried) == 1:
            raise DataError("the store is full, as the test says")

    reader = LabelTopic(
        connection(kafka_broker),
        topic=topic,
        group=f"again-{topic}",
        write_down=refuse_once,
        clock=SystemClock(),
        backoff=backoff(),
    )
    wait_for(lambda: committed(kafka_broker, topic=topic, group=f"again-{topic}") == 1)
    reader.close(timeout_s=WITHIN_S)
    assert len(tried) == 2


def committed(broker: KafkaBroker, *, topic: str, group: str) -> int | None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False)
    try:
        found: int | None = consumer.committed(TopicPartition(topic, 0))
    finally:
        consumer.close()
    return found
