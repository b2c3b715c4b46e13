"""The composition root: a configuration becomes a running line. Read this first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from pipeline.batcher import Batcher
from pipeline.encoders.build import EncoderBundle
from pipeline.encoders.ladder import landmarks, measure_cost
from pipeline.interfaces import Sink
from pipeline.types import Batch, Features, Prediction, Scores
from workers.captures import Feed
from workers.clock import SystemClock
from workers.config import LineConfig, load_config
from workers.config_cameras import CameraConfig
from workers.gpu_memory import gpu_memory
from workers.inference import LiveHead, TapLike
from workers.line import Beside, Line, Say, quiet
from workers.metrics import Metrics
from workers.opening import open_encoder, open_feeds, open_head, open_sinks, publish_pace_s
from workers.opening_review import open_first_pictures, open_review
from workers.server import StatusServer
from workers.sinks.results import ResultsSink
from workers.wall import Wall

if TYPE_CHECKING:
    from workers.adaptation.loop import AdaptationLoop
    from workers.adaptation.tap import Tap
    from workers.opening_kafka import AdaptationTopics

SERVER_STOP_S = 1.0


def silent(_kind: str, _told: Mapping[str, Any]) -> None:
    """Where nobody listens to alarms and heads."""


class Pipeline:
    """A line in one process, cameras to labels. All methods belong to one thread; `results` may have its own.

    with Pipeline.from_config("configs/demo.yaml") as pipeline:
        for prediction in pipeline.results():
            print(prediction.label, prediction.confidence)
    """

    def __init__(self, config: LineConfig, *, carried: Sequence[CameraConfig] = (), say: Say = quiet) -> None:
        """Build and check every part, start none. Raises the exact ClearlineError of what does not fit.

        `carried` are cameras whose frames come over a topic: their regions are cut here, and adaptation is left to
        another process, `worker recalibrate`, which is sent what is decided.
        """
        self._config, self._stopped = config, False
        capture_clock = SystemClock()
        metrics = self._metrics = Metrics(clock=capture_clock, version=version("clearline"))
        self.adaptation: AdaptationLoop | None = None
        self._topics: AdaptationTopics | None = None
        say(f"loading encoder {config.encoder.model} ({config.encoder.backend})")
        encoder = open_encoder(config)
        opened = open_head(config, encoder=encoder)
        self.head, self.policy = opened.identity, opened.policy
        self.prior = "zero-shot CLIP" if encoder.text is not None else "image prototypes"
        self._tell_of_head()
        say("comparing golden pictures and timing batch sizes")
        batcher, self.encoder_frames_per_second = _measured_batcher(config, encoder=encoder)
        self._results = ResultsSink()
        feeds = open_feeds(config, carried=carried, encoder=encoder, clock=capture_clock, metrics=metrics)
        self._wall = Wall(clock=capture_clock)
        self._first = open_first_pictures(config, carried=carried, head=opened.live.head, clock=capture_clock)
        tap = self._make_tap()
        self.line = Line(
            feeds=feeds,
            encoder=encoder.image,
            live=opened.live,
            batcher=batcher,
            sinks=[*self._sinks(feeds, carried=carried, clock=capture_clock), self._results],
            metrics=metrics,
            capture_clock=capture_clock,
            queue_batches=config.batching.queue_frames,
            publish_pace_s=publish_pace_s(config),
            tap=self._told_of_batches(tap),
            beside=self._beside(tap, encoder=encoder, live=opened.live, recalibrates=not carried),
        )
        metrics.bind_ready(lambda: not self.line.unready())
        metrics.bind_readings(gpu_memory)
        self.server = self._served(encoder, clock=capture_clock)

    def _sinks(self, feeds: Sequence[Feed], *, carried: Sequence[CameraConfig], clock: SystemClock) -> list[Sink]:
        sources = [feed.source for feed in feeds]
        return open_sinks(self._config, clock=clock, metrics=self._metrics, sources=sources, carried=carried)

    def _tell_of_head(self) -> None:
        """What is live, and whether the promised share of escapes is certified."""
        self._metrics.head(self.head.name, self.head.version, self.head.bundle_sha256)
        if (certificate := self.policy.certificate) is not None:
            self._metrics.adaptation("certificate_valid", certificate.accept_at_least is not None, self.head.name)

    def _served(self, encoder: EncoderBundle, *, clock: SystemClock) -> StatusServer:
        return StatusServer(
            host=self._config.server.host,
            port=self._config.server.port,
            metrics=self._metrics,
            status=self.status,
            health=self._health,
            ready=self._ready,
            review=self._review(encoder, clock=clock),
        )

    def _make_tap(self) -> Tap | None:
        if self._config.adaptation is None:
            return None
        from workers.adaptation.tap import Tap  # with all it needs, only where it is wanted

        return Tap(clock=SystemClock())

    def _beside(self, tap: Tap | None, *, encoder: EncoderBundle, live: LiveHead, recalibrates: bool) -> Beside | None:
        """The loop, or the way to it; without adaptation only the registry is followed."""
        if tap is not None and recalibrates:
            return self._adaptation(tap, encoder=encoder)
        from workers.opening_recalibration import open_follower, open_sender

        follower = open_follower(self._config, encoder=encoder, live=live, swap=self._swap)
        if tap is None:
            return follower
        return open_sender(self._config, tap=tap, follower=follower, clock=SystemClock(), metrics=self._metrics)

    def _adaptation(self, tap: Tap, *, encoder: EncoderBundle) -> AdaptationLoop:
        from workers.opening_adaptation import open_adaptation
        from workers.opening_recalibration import open_topics

        self._topics = open_topics(self._config, encoder=encoder)
        self.adaptation = open_adaptation(
            self._config,
            encoder=encoder,
            tap=tap,
            swap=self._swap,
            clock=SystemClock(),
            metrics=self._metrics,
            announce=silent if self._topics is None else self._topics.announce,
        )
        return self.adaptation

    def _told_of_batches(self, tap: Tap | None) -> TapLike:
        """The wall sees every batch, and so do those who look for pictures to label, and adaptation."""
        wall, first = self._wall, self._first

        def told(batch: Batch, features: Features, scores: Scores, made: Sequence[Prediction], live: LiveHead) -> None:
            wall.see(batch, made)
            if first is not None:
                first.see(batch, features, made)
            if tap is not None:
                tap(batch, features, scores, made, live)

        return told

    def _review(self, encoder: EncoderBundle, *, clock: SystemClock) -> ASGIApp | None:
        return open_review(
            self._config,
            encoder=encoder,
            wall=self._wall,
            live=lambda: self.line.live,
            first=self._first,
            sources=lambda: self.line.status()["sources"],
            state=lambda: None if self.adaptation is None else self.adaptation.state,
            clock=clock,
        )

    def _swap(self, live: LiveHead) -> None:
        """Another head from the next batch on, and everybody is told."""
        self.line.swap(live)
        self.head = live.decider.identity
        self._tell_of_head()

    @classmethod
    def from_config(cls, path: Path | str, *, say: Say = quiet) -> Pipeline:
        """From a YAML file; see configs/example.yaml."""
        return cls(load_config(Path(path)), say=say)

    def start(self) -> None:
        """Open the port and start all threads. Raises SinkError where the port cannot be had."""
        self.server.start()
        self.line.start()

    def stop(self) -> None:
        """Drain in flow order within the configured time; may be called twice.

        Raises WorkerDied where a thread had died, ShutdownTimeout where one would not end.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            self.line.stop(timeout_s=self._config.shutdown.timeout_s)
        finally:
            if self._topics is not None:
                self._topics.close()
            self.server.stop(timeout_s=SERVER_STOP_S)

    def __enter__(self) -> Pipeline:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def results(self) -> Iterator[Prediction]:
        """Predictions from now on, in order of delivery; blocks for the next and ends with the sources.

        A slow reader holds the line back, as every sink does.
        """
        self._results.want()
        return iter(self._results)

    def facts(self) -> dict[str, Any]:
        """What a summary says of the line beside its counts."""
        return {
            "head": f"{self.head.name} {self.head.version}",
            "prior": self.prior,
            "encoder_frames_per_second": self.encoder_frames_per_second,
        }

    def status(self) -> dict[str, Any]:
        """What /status answers."""
        return {
            **self.line.status(),
            "head": {"name": self.head.name, "version": self.head.version, "bundle_sha256": self.head.bundle_sha256},
            "encoder": self.head.encoder,
            "encoder_frames_per_second": round(self.encoder_frames_per_second, 1),
        }

    def _health(self) -> tuple[bool, list[str]]:
        reasons = self.line.unhealthy()
        return not reasons, reasons

    def _ready(self) -> tuple[bool, list[str]]:
        reasons = self.line.unready()
        return not reasons, reasons


def _measured_batcher(config: LineConfig, *, encoder: EncoderBundle) -> tuple[Batcher, float]:
    """Values first (EncoderError when a golden picture comes out wrong), then the cost of a batch on this device."""
    encoder.check()
    cost = measure_cost(encoder.image, landmarks(encoder.ladder))
    batcher = Batcher(
        sizes=encoder.ladder,
        image_size=encoder.image.info.image_size,
        max_wait_s=config.batching.max_wait_ms / 1e3,
        cost=cost,
    )
    return batcher, max(size / cost.seconds(size) for size in encoder.ladder)
