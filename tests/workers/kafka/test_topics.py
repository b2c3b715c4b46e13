"""The topics of a line on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from kafka.errors import InvalidReplicationFactorError

from pipeline.errors import ConfigError
from tests.servers.kafka import KafkaBroker
from workers.kafka.connection import KafkaConnection
from workers.kafka.topics import TopicOutcome, TopicSpec, create_topics, require_topics, topic_specs

Specs = Callable[..., tuple[TopicSpec, ...]]


@pytest.fixture
def connection(kafka_broker: KafkaBroker) -> KafkaConnection:
    return KafkaConnection(bootstrap=(kafka_broker.bootstrap,))


@pytest.fixture
def prefix() -> str:
    return f"line-{uuid.uuid4().hex[:8]}"


def test_the_topics_are_those_of_the_design() -> None:
    specs = topic_specs()
    kinds = ("frames", "results", "states", "labels", "embeddings", "drift", "heads", "dlq")
    assert [spec.name for spec in specs] == [f"clearline.{kind}.v1" for kind in kinds]
    assert {spec.name.split(".")[1] for spec in specs if spec.cleanup == "compact"} == {"states", "heads"}


def test_a_dead_letter_may_be_larger_than_the_largest_frame() -> None:
    by_name = {spec.name: spec for spec in topic_specs(max_message_bytes=5_000_000)}
    assert by_name["clearline.dlq.v1"].max_message_bytes > by_name["clearline.frames.v1"].max_message_bytes == 5_000_000


def test_they_are_made_once_and_found_as_they_should_be_the_second_time(
    connection: KafkaConnection, prefix: str
) -> None:
    specs = topic_specs(prefix=prefix, partitions=2)
    assert {outcome.outcome for outcome in create_topics(connection, specs, replication=1)} == {"created"}
    again = create_topics(connection, specs, replication=1)
    assert again == tuple(TopicOutcome(spec.name, "there") for spec in specs)
    require_topics(connection, [spec.name for spec in specs])


def test_what_differs_is_said_and_left(connection: KafkaConnection, prefix: str) -> None:
    frames = topic_specs(prefix=prefix, partitions=1)[0]
    create_topics(connection, [frames])
    wanted = replace(frames, partitions=4, retention_s=60, cleanup="compact")
    (outcome,) = create_topics(connection, [wanted], replication=3)
    assert outcome.differences == (
        "partitions: expected 4, got 1",
        "replication: expected 3, got 1",
        "cleanup.policy: expected compact, got delete",
        "retention.ms: expected 60000, got 86400000",
    )
    assert create_topics(connection, [frames])[0].differences == ()


def test_more_replicas_than_brokers_are_refused(connection: KafkaConnection, prefix: str) -> None:
    with pytest.raises(InvalidReplicationFactorError, match=f"{prefix}.frames.v1"):
        create_topics(connection, topic_specs(prefix=prefix), replication=3)


def test_a_missing_topic_names_the_command_that_makes_it(connection: KafkaConnection, prefix: str) -> None:
    with pytest.raises(ConfigError, match=f"expected the topics {prefix}.x, got none.*clearline kafka init"):
        require_topics(connection, [f"{prefix}.x"])


def test_a_user_may_make_topics_under_a_prefix_granted_to_him(secure_kafka_broker: KafkaBroker, prefix: str) -> None:
    secure_kafka_broker.grant("clearline", prefix=prefix)
    connection = KafkaConnection(
        bootstrap=(secure_kafka_broker.bootstrap,),
        protocol="sasl_tls",
        username="clearline",
        password=lambda: "line-secret",
        ca_file=secure_kafka_broker.ca,
    )
    specs = topic_specs(prefix=prefix)
    create_topics(connection, specs)
    require_topics(connection, [spec.name for spec in specs])
