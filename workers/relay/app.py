"""The composition root of `worker capture`: cameras, a producer, a port."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pipeline.errors import ConfigError
from workers.clock import SystemClock
from workers.config.line import LineConfig
from workers.kafka.topics import require_topics
from workers.metrics.registry import Metrics
from workers.opening.kafka import connection_of, frames_topic, packer_of, producer_of
from workers.opening.parts import OpenedTriggers
from workers.opening.relay import open_relay_feeds
from workers.relay.line import RelayLine
from workers.server import StatusServer

SERVER_STOP_S = 1.0


class RelayPipeline:
    """Cameras to a topic in one process. All methods belong to one thread."""

    def __init__(self, config: LineConfig) -> None:
        """Build every part, start none. Raises ConfigError where Kafka is not configured or its topics are missing."""
        self._config = config
        self._stopped = False
        clock = SystemClock()
        metrics = Metrics(clock=clock, version=version("clearline"))
        _, connection = connection_of(config)
        topic = frames_topic(config)
        self._triggers = OpenedTriggers(config, clock=clock, metrics=metrics)
        if self._triggers.of("opcua"):
            raise ConfigError(
                "cameras: worker capture expected trigger.type http or mqtt, got opcua, whose server is the sink's of "
                "`clearline run`; choose one of the others"
            )
        require_topics(connection, [topic])
        self.line = RelayLine(
            feeds=open_relay_feeds(config, clock=clock, metrics=metrics, triggers=self._triggers),
            producer=producer_of(config),
            packer=packer_of(config, clock=clock),
            topic=topic,
            metrics=metrics,
            capture_clock=clock,
        )
        metrics.bind_ready(lambda: not self.line.unready())
        self.server = StatusServer(
            host=config.server.host,
            port=config.server.port,
            metrics=metrics,
            status=self.status,
            health=lambda: _verdict(self.line.unhealthy()),
            ready=lambda: _verdict(self.line.unready()),
            triggers=self._triggers.app,
        )

    def start(self) -> None:
        """Open the port and start all threads. Raises SinkError where the port cannot be had."""
        self.server.start()
        self._triggers.start()
        self.line.start()

    def stop(self) -> None:
        """Drain in flow order within the configured time; may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._triggers.close()
        try:
            self.line.stop(timeout_s=self._config.shutdown.timeout_s)
        finally:
            self.server.stop(timeout_s=SERVER_STOP_S)

    def facts(self) -> dict[str, Any]:
        """Nothing is decided here."""
        return {}

    def status(self) -> dict[str, Any]:
        """What /status answers."""
        return self.line.status()


def _verdict(reasons: list[str]) -> tuple[bool, list[str]]:
    return not reasons, reasons
