"""The composition root of `worker recalibrate`: decided batches off a topic, the loop, a port with the review page."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.types import ASGIApp

from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.tap import Tap
from workers.clock import SystemClock
from workers.config.line import LineConfig
from workers.kafka.topics import require_topics
from workers.metrics.registry import Metrics
from workers.opening.adaptation import open_adaptation
from workers.opening.kafka import connection_of, embeddings_topic
from workers.opening.line import open_encoder
from workers.opening.recalibration import open_receiver, open_topics, tell_lines
from workers.opening.review import RunningLine, open_review
from workers.recalibration.line import RecalibrationLine
from workers.review.drift_facts import DriftFacts
from workers.server import StatusServer
from workers.wall import Wall

SERVER_STOP_S = 1.0


class RecalibrationPipeline:
    """One of these for a line, beside any number of inference workers. All methods belong to one thread."""

    def __init__(self, config: LineConfig) -> None:
        """Build every part, start none. Raises ConfigError where a section or a topic is missing."""
        if config.adaptation is None:
            raise ConfigError("adaptation: worker recalibrate expected the section adaptation, got none; add it")
        self._config, self._stopped = config, False
        clock = SystemClock()
        metrics = Metrics(clock=clock, version=version("clearline"))
        _, connection = connection_of(config)
        require_topics(connection, [embeddings_topic(config)])
        encoder = open_encoder(config)  # its texts are part of a fit; pictures are not encoded here
        topics = open_topics(config, encoder=encoder)
        assert topics is not None  # connection_of has demanded a broker
        self._topics, self._drift = topics, DriftFacts(clock=clock)
        tap = Tap(clock=clock)
        self.loop = open_adaptation(
            config,
            encoder=encoder,
            tap=tap,
            swap=tell_lines(AdaptationFiles(config.adaptation.folder)),
            clock=clock,
            metrics=metrics,
            announce=self._announce,
        )
        receiver = open_receiver(config, tap=tap, clock=clock, metrics=metrics)
        self.line = RecalibrationLine(receiver, loop=self.loop, tap=tap, clock=clock)
        metrics.bind_ready(lambda: not self.line.unready())
        self.server = StatusServer(
            host=config.server.host,
            port=config.server.port,
            metrics=metrics,
            status=self.line.status,
            health=lambda: _verdict(self.line.unhealthy()),
            ready=lambda: _verdict(self.line.unready()),
            review=self._review(encoder, clock=clock),
        )

    def _announce(self, kind: str, told: dict[str, Any]) -> None:
        """The page of drift hears what topics are told."""
        self._drift.hear(kind, told)
        self._topics.announce(kind, told)

    def _review(self, encoder: EncoderBundle, *, clock: SystemClock) -> ASGIApp | None:
        """The wall stays empty: pictures are with the inference workers."""
        line = RunningLine(
            wall=Wall(clock=clock),
            live=lambda: self.loop.acting.live,
            sources=dict,
            state=lambda: self.loop.state,
            first=None,
            drift=self._drift,
            by_hand=None,
        )
        return open_review(self._config, encoder=encoder, line=line, clock=clock)

    def start(self) -> None:
        """Open the port and start all threads. Raises SinkError where the port cannot be had."""
        self.server.start()
        self.line.start()

    def stop(self) -> None:
        """End the reader, then the loop after what it holds; may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self.line.stop(timeout_s=self._config.shutdown.timeout_s)
        finally:
            self._topics.close()
            self.server.stop(timeout_s=SERVER_STOP_S)

    def facts(self) -> dict[str, Any]:
        """What a summary says beside the counts, which are the inference workers'."""
        return {
            "parts": self.line.n_parts,
            "state": self.loop.state.state.value,
            "head": f"{self._config.head.name} {self.loop.state.champion}",
        }


def _verdict(reasons: list[str]) -> tuple[bool, list[str]]:
    return not reasons, reasons
