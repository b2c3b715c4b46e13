"""Sinks from their sections of the configuration: where results go, and where pictures are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.interfaces import Clock, Sink, Source
from pipeline.types import Decision
from workers.backoff import Backoff
from workers.config.cameras import (
    CameraConfig,
    KafkaSourceConfig,
)
from workers.config.line import JsonlSinkConfig, KafkaSinkConfig, LineConfig
from workers.config.loading import read_secret
from workers.config.sinks import (
    ArchiveSinkConfig,
    MqttSinkConfig,
    OpcUaSinkConfig,
    OutboxConfig,
    WebhookSinkConfig,
    read_options,
)
from workers.ledger import Ledger
from workers.metrics.registry import Metrics
from workers.mqtt.connection import paho_library
from workers.opening.mqtt import mqtt_connection
from workers.opening.parts import OpenedTriggers
from workers.outbox.sink import Destination, OutboxSink
from workers.sinks.archive import ArchiveSink, wants
from workers.sinks.archive_reader import ArchiveReader
from workers.sinks.archive_remote import RemoteStore, demand_library
from workers.sinks.archive_store import LocalStore, PictureStore
from workers.sinks.archive_uploads import ArchiveUploads
from workers.sinks.jsonl import JsonlSink
from workers.sinks.mqtt import MqttDestination, MqttSink
from workers.sinks.webhook import WebhookDestination
from workers.triggers.queue import Fire

if TYPE_CHECKING:
    from workers.sinks.opcua import OpcUaSink

DAY_S = 86_400.0
_ARCHIVE_GAUGES = {"bytes": "archive_bytes", "waiting": "archive_queue_bytes"}
WEBHOOK_RETRY_S = (0.5, 60.0)  # first and longest wait before a receiver that is away is tried again
MQTT_RETRY_S = (0.5, 10.0)  # the same for a broker


def open_archive(given: ArchiveSinkConfig, *, clock: Clock, metrics: Metrics) -> Sink:
    """A local folder is made now; a distant one is connected to in its own time. Raises SinkError."""

    def note(what: str, n: float, why: str) -> None:
        if what in _ARCHIVE_GAUGES:
            metrics.adaptation(_ARCHIVE_GAUGES[what], n)
        else:
            metrics.adaptation(f"archive_{what}_total", n, why)

    keep = frozenset(Decision(name) for name in given.keep)

    def archive(store: PictureStore, index: Path) -> ArchiveSink:
        return ArchiveSink(
            store,
            index=index,
            clock=clock,
            keep=keep,
            audit_share=given.audit_share,
            max_bytes=int(given.max_gb * 1e9),
            max_age_s=given.max_age_days * DAY_S,
            min_free_bytes=int(given.min_free_gb * 1e9),
            note=note,
        )

    if given.local_folder is not None:
        return archive(LocalStore(given.local_folder), given.local_folder)
    demand_library(given.folder)
    return ArchiveUploads(
        lambda closing: archive(remote_store(given, clock=closing), given.index),
        wants=wants(keep, audit_share=given.audit_share),
        max_bytes=int(given.queue_mb * 1e6),
        note=note,
    )


def open_archive_reader(given: ArchiveSinkConfig) -> ArchiveReader:
    """For the review page."""
    if given.local_folder is not None:
        return ArchiveReader(LocalStore(given.local_folder), index=given.local_folder)
    return ArchiveReader(remote_store(given), index=given.index)


def remote_store(given: ArchiveSinkConfig, *, clock: Clock | None = None) -> RemoteStore:
    """Of an archive with an address; with `clock` a write is tried until it succeeds."""
    path = given.options_file
    return RemoteStore(given.folder, options=dict if path is None else partial(read_options, path), clock=clock)


def open_webhook(given: WebhookSinkConfig, *, clock: Clock, metrics: Metrics, name: str) -> OutboxSink:
    """The outbox is opened now, nothing is sent yet. Raises SinkError."""
    destination = WebhookDestination(
        given.read_url,
        secret=partial(read_secret, given.secret_file),
        timeout_s=given.timeout_ms / 1e3,
        clock=clock,
        on_refused=lambda n: metrics.outbox_shed(name, n, "refused"),
    )
    return _boxed(
        OutboxSink, destination, outbox=given.outbox, retry_s=WEBHOOK_RETRY_S, clock=clock, metrics=metrics, name=name
    )


def open_mqtt(given: MqttSinkConfig, *, clock: Clock, metrics: Metrics, name: str) -> OutboxSink:
    """The outbox is opened now; the broker is connected to by the line's first result, or quiet moment."""
    paho_library()  # without it the line would die of its first result
    destination = MqttDestination(
        mqtt_connection(given),
        prefix=given.prefix,
        clock=clock,
        state_after=given.state_after,
        on_refused=lambda n: metrics.outbox_shed(name, n, "refused"),
    )
    return _boxed(
        MqttSink, destination, outbox=given.outbox, retry_s=MQTT_RETRY_S, clock=clock, metrics=metrics, name=name
    )


def open_opcua(
    given: OpcUaSinkConfig, *, regions: Sequence[tuple[str, str]], triggers: Mapping[str, Fire], clock: Clock
) -> OpcUaSink:
    """It serves from now on, `regions` (camera, region) with values that are bad. Raises SinkError."""
    try:
        from workers.opcua.server import OpcUaServer, Security
        from workers.sinks.opcua import OpcUaSink
    except ModuleNotFoundError as error:
        raise ConfigError("type opcua: expected asyncua, got none; pip install 'clearline[opcua]'") from error
    security = given.security
    server = OpcUaServer(
        host=given.host,
        port=given.port,
        regions=regions,
        stale_s=given.stale_ms / 1e3,
        clock=clock,
        triggers=triggers,
        security=None
        if security is None
        else Security(
            certificate_file=security.certificate_file,
            key_file=security.key_file,
            users={one.name: partial(read_secret, one.password_file) for one in security.users},
        ),
    )
    return OpcUaSink(server, reject_on=[Decision(name) for name in given.reject_on])


def _boxed(
    kind: type[OutboxSink],
    destination: Destination,
    *,
    outbox: OutboxConfig,
    retry_s: tuple[float, float],
    clock: Clock,
    metrics: Metrics,
    name: str,
) -> OutboxSink:
    """Raises SinkError."""
    box = kind(
        destination,
        path=outbox.path,
        max_bytes=int(outbox.max_mb * 1e6),
        max_age_s=outbox.max_age_h * 3600.0,
        clock=clock,
        backoff=Backoff(initial_s=retry_s[0], cap_s=retry_s[1]),
        on_shed=lambda n, reason: metrics.outbox_shed(name, n, reason),
        name=name,
    )
    metrics.bind_outbox(name, box.depth)
    return box


def publish_pace_s(config: LineConfig) -> float:
    """How far apart deliveries begin, in seconds: as topics want it; 0 where there are none."""
    return max((sink.send_every_ms for sink in config.sinks if isinstance(sink, KafkaSinkConfig)), default=0.0) / 1e3


def open_sinks(
    config: LineConfig,
    *,
    clock: Clock,
    metrics: Metrics,
    sources: Sequence[Source],
    ledger: Ledger,
    triggers: OpenedTriggers,
    carried: Sequence[CameraConfig] = (),
) -> list[Sink]:
    """Files are opened now, so that an unwritable path is an error before the first frame; brokers are not.

    `ledger` is the line's: what is exactly once asks it for frames under way. `triggers` for those who
    come in where results go out.
    """
    opened: list[Sink] = []
    for n, sink in enumerate(config.sinks):
        if isinstance(sink, JsonlSinkConfig):
            opened.append(_jsonl(sink, clock=clock, name=f"jsonl-{n}" if n else "jsonl"))
        elif isinstance(sink, KafkaSinkConfig):
            opened.append(_kafka(sink, config=config, clock=clock, metrics=metrics, sources=sources, ledger=ledger))
        elif isinstance(sink, ArchiveSinkConfig):
            opened.append(open_archive(sink, clock=clock, metrics=metrics))
        elif isinstance(sink, OpcUaSinkConfig):
            cameras = [one for one in (*carried, *config.cameras) if not isinstance(one.source, KafkaSourceConfig)]
            regions = [(camera.id, roi.id) for camera in cameras for roi in camera.rois]
            opened.append(open_opcua(sink, regions=regions, triggers=triggers.of("opcua"), clock=clock))
        else:
            name = f"{sink.type}-{n}" if sum(one.type == sink.type for one in config.sinks) > 1 else sink.type
            if isinstance(sink, WebhookSinkConfig):
                opened.append(open_webhook(sink, clock=clock, metrics=metrics, name=name))
            else:
                opened.append(open_mqtt(sink, clock=clock, metrics=metrics, name=name))
    return opened


def _jsonl(sink: JsonlSinkConfig, *, clock: Clock, name: str) -> JsonlSink:
    return JsonlSink(
        sink.path,
        clock=clock,
        rotate_bytes=int(sink.rotate_mb * 1e6),
        keep=sink.keep,
        fsync=sink.fsync,
        fsync_interval_s=sink.fsync_interval_ms / 1e3,
        name=name,
    )


def _kafka(
    sink: KafkaSinkConfig,
    *,
    config: LineConfig,
    clock: Clock,
    metrics: Metrics,
    sources: Sequence[Source],
    ledger: Ledger,
) -> Sink:
    from workers.opening.kafka import open_kafka_sink
    from workers.sources.kafka import KafkaSource

    readers = [one for one in sources if isinstance(one, KafkaSource)]
    return open_kafka_sink(sink, config=config, clock=clock, metrics=metrics, sources=readers, ledger=ledger)
