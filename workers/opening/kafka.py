"""The parts of a line that speak Kafka, from their sections of the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.interfaces import Clock, Sink
from workers.adaptation.topics import Announcer, LabelTopic
from workers.backoff import Backoff
from workers.config.cameras import CameraConfig, KafkaSourceConfig
from workers.config.kafka import KafkaConfig
from workers.config.line import KafkaSinkConfig, LineConfig
from workers.kafka.connection import KafkaConnection, quiet_client_logs
from workers.kafka.consumer import ConsumerTerms
from workers.kafka.names import own_name
from workers.kafka.packing import Packer, Topics
from workers.kafka.producer import ParcelProducer
from workers.ledger import Ledger
from workers.metrics.registry import Metrics
from workers.outbox.sink import OutboxSink
from workers.sinks.kafka import KafkaDestination, KafkaSink, TransactionalKafkaSink
from workers.sinks.states import STATE_AFTER
from workers.sources.kafka import KafkaSource

TOPICS_STOP_S = 3.0
OUTBOX_RETRY_S = (0.5, 10.0)  # first and longest wait before a destination that is away is tried again


def connection_of(config: LineConfig) -> tuple[KafkaConfig, KafkaConnection]:
    """The section `kafka` and the way in. Raises ConfigError where there is none."""
    if config.kafka is None:
        raise ConfigError("kafka: expected a section kafka with bootstrap, got none; see configs/example.yaml")
    quiet_client_logs()
    return config.kafka, config.kafka.connection()


def frames_topic(config: LineConfig) -> str:
    """Where capture workers write and inference workers read."""
    section, _ = connection_of(config)
    return f"{section.topics_prefix}.frames.v1"


def open_kafka_source(
    source_id: str, *, given: KafkaSourceConfig, config: LineConfig, clock: Clock, metrics: Metrics
) -> KafkaSource:
    """A reader of a topic of frames, not yet connected."""
    section, connection = connection_of(config)
    exactly_once = any(sink.type == "kafka" and sink.delivery == "exactly_once" for sink in config.sinks)
    terms = ConsumerTerms(
        topic=given.topic or frames_topic(config),
        group=given.group,
        start=given.start,
        buffer_bytes=int(given.buffer_mb * 1e6),
        max_message_bytes=int(section.message_max_mb * 1e6),
        commit_interval_s=given.commit_interval_ms / 1e3,
        drain_s=given.drain_ms / 1e3,
        session_timeout_s=given.session_timeout_ms / 1e3,
        max_poll_interval_s=given.max_poll_interval_ms / 1e3,
        commits=not exactly_once,
    )
    return KafkaSource(
        source_id,
        connection=connection,
        terms=terms,
        part_header=given.part_header,
        clock=clock,
        observe=lambda what, value: metrics.kafka(source_id, what, value),
    )


def open_kafka_sink(
    given: KafkaSinkConfig,
    *,
    config: LineConfig,
    clock: Clock,
    metrics: Metrics,
    sources: list[KafkaSource],
    ledger: Ledger,
) -> Sink:
    """Exactly once with the source's offsets; else direct for frames from Kafka, through the outbox for cameras."""
    packer = packer_of(config, clock=clock, state_after=given.state_after)
    if given.delivery == "exactly_once":
        return _exactly_once(packer, config=config, sources=sources, ledger=ledger)
    destination = KafkaDestination(packer, producer=producer_of(config))
    if sources or given.outbox is None:
        return KafkaSink(destination)
    box = OutboxSink(
        destination,
        path=given.outbox.path,
        max_bytes=int(given.outbox.max_mb * 1e6),
        max_age_s=given.outbox.max_age_h * 3600.0,
        clock=clock,
        backoff=Backoff(initial_s=OUTBOX_RETRY_S[0], cap_s=OUTBOX_RETRY_S[1]),
        on_shed=lambda n, reason: metrics.outbox_shed("kafka", n, reason),
        name="kafka",
    )
    metrics.bind_outbox("kafka", box.depth)
    return box


def _exactly_once(packer: Packer, *, config: LineConfig, sources: list[KafkaSource], ledger: Ledger) -> Sink:
    if len(sources) != 1:
        got = f"{len(sources)} sources of type kafka"
        raise ConfigError(f"sinks: delivery exactly_once expected one source of type kafka, got {got}")
    [source] = sources
    locks = Path(os.environ.get("TMPDIR", "/tmp")) / f"clearline-{os.getuid()}"
    name = own_name(f"clearline-{source.topic}-{source.group}", folder=locks)
    source.before_first_join = partial(_take_over, config, name)
    producer = producer_of(config, transactional_id=name)
    return TransactionalKafkaSink(
        packer,
        producer=producer,
        owns=source.owns,
        group=lambda: source.group_metadata,
        unfinished=lambda: ledger.unfinished(source.source_id),
    )


def producer_of(config: LineConfig, *, transactional_id: str | None = None) -> ParcelProducer:
    """A producer that connects at its first message."""
    section, connection = connection_of(config)
    max_bytes = int(section.message_max_mb * 1e6)
    return ParcelProducer(connection, max_message_bytes=max_bytes, transactional_id=transactional_id)


def packer_of(config: LineConfig, *, clock: Clock, state_after: int = STATE_AFTER) -> Packer:
    """Outcomes to messages on this line's topics."""
    section, _ = connection_of(config)
    prefix = section.topics_prefix
    topics = Topics(results=f"{prefix}.results.v1", states=f"{prefix}.states.v1", dead_letters=f"{prefix}.dlq.v1")
    return Packer(topics=topics, line=config.head.name, clock=clock, state_after=state_after)


def embeddings_topic(config: LineConfig) -> str:
    """Where inference workers write what they decided and the recalibration worker reads it."""
    section, _ = connection_of(config)
    return f"{section.topics_prefix}.embeddings.v1"


class AdaptationTopics:
    """Alarms and heads out, labels in, for a line with adaptation and Kafka."""

    def __init__(
        self, config: LineConfig, *, write_down: Callable[[Mapping[str, Any]], object] | None, clock: Clock
    ) -> None:
        """`write_down` takes a label; None where nobody keeps them."""
        section, connection = connection_of(config)
        prefix, line = section.topics_prefix, config.head.name
        retry = Backoff(initial_s=OUTBOX_RETRY_S[0], cap_s=OUTBOX_RETRY_S[1])
        self._announcer = Announcer(
            producer_of(config),
            topics={"drift": f"{prefix}.drift.v1", "heads": f"{prefix}.heads.v1"},
            line=line,
            clock=clock,
            backoff=retry,
        )
        self._labels = None
        if write_down is not None:
            self._labels = LabelTopic(
                connection,
                topic=f"{prefix}.labels.v1",
                group=f"clearline-labels-{line}",
                write_down=write_down,
                clock=clock,
                backoff=Backoff(initial_s=OUTBOX_RETRY_S[0], cap_s=OUTBOX_RETRY_S[1]),
            )

    def announce(self, kind: str, told: Mapping[str, Any]) -> None:
        """Never waits for the broker."""
        self._announcer.announce(kind, told)

    def close(self) -> None:
        """Send what waits, stop reading."""
        self._announcer.close(timeout_s=TOPICS_STOP_S)
        if self._labels is not None:
            self._labels.close(timeout_s=TOPICS_STOP_S)


def as_inference(config: LineConfig) -> LineConfig:
    """The same line with the topic of frames for its only source, and Kafka among its sinks."""
    reader = CameraConfig(id="frames", source=config.topic_reader or KafkaSourceConfig(type="kafka"))
    sinks = config.sinks
    if not any(sink.type == "kafka" for sink in sinks):
        sinks = (KafkaSinkConfig(type="kafka"),)
    return config.model_copy(update={"cameras": (reader,), "sinks": sinks})


def _take_over(config: LineConfig, name: str) -> None:
    """With a producer of its own, which is gone when the sink's begins. Raises SinkError."""
    producer = producer_of(config, transactional_id=name)
    try:
        producer.take_over()
    finally:
        producer.close()
