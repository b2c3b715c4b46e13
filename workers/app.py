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
from pipeline.heads.bundles import registry
from pipeline.types import Batch, Features, Prediction, Scores
from workers.clock import SystemClock
from workers.config.cameras import CameraConfig
from workers.config.line import LineConfig, load_config
from workers.gpu_memory import gpu_memory
from workers.ledger import Ledger
from workers.line import Beside, Line, Say, quiet
from workers.live_head import LiveHead, TapLike
from workers.metrics.registry import Metrics
from workers.opening.line import open_encoder, open_feeds, open_head
from workers.opening.parts import OpenedTriggers, open_parts
from workers.opening.review import RunningLine, open_first_pictures, open_review
from workers.opening.sinks import open_sinks, publish_pace_s
from workers.review.drift_facts import DriftFacts
from workers.server import StatusServer
from workers.sinks.results import ResultsSink
from workers.wall import Wall

if TYPE_CHECKING:
    from workers.adaptation.loop import AdaptationLoop
    from workers.adaptation.tap import Tap
    from workers.opening.kafka import AdaptationTopics

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
        self._wall, self._drift = Wall(clock=capture_clock), DriftFacts(clock=capture_clock)
        self._first = open_first_pictures(config, carried=carried, head=opened.live.head, clock=capture_clock)
        self.line = self._line(encoder, batcher=batcher, live=opened.live, carried=carried, clock=capture_clock)
        metrics.bind_ready(lambda: not self.line.unready())
        metrics.bind_readings(gpu_memory)
        self.server = self._served(encoder, clock=capture_clock)

    def _line(
        self,
        encoder: EncoderBundle,
        *,
        batcher: Batcher,
        live: LiveHead,
        carried: Sequence[CameraConfig],
        clock: SystemClock,
    ) -> Line:
        """From the sources to the sinks, built stopped."""
        config, metrics, ledger = self._config, self._metrics, Ledger()
        triggers = self._triggers = OpenedTriggers(config, clock=clock, metrics=metrics)
        feeds = open_feeds(config, carried=carried, encoder=encoder, clock=clock, metrics=metrics, triggers=triggers)
        sources = [feed.source for feed in feeds]
        sinks = open_sinks(
            config, clock=clock, metrics=metrics, sources=sources, ledger=ledger, triggers=triggers, carried=carried
        )
        tap = self._make_tap()
        return Line(
            feeds=feeds,
            encoder=encoder.image,
            live=live,
            batcher=batcher,
            sinks=[*sinks, self._results],
            metrics=metrics,
            capture_clock=clock,
            queue_batches=config.batching.queue_frames,
            publish_pace_s=publish_pace_s(config),
            tap=self._told_of_batches(tap),
            beside=self._beside(tap, encoder=encoder, live=live, recalibrates=not carried),
            parts=open_parts(config, carried=carried, metrics=metrics),
            ledger=ledger,
        )

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
            triggers=self._triggers.app,
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
        from workers.opening.recalibration import open_follower, open_sender

        follower = open_follower(self._config, encoder=encoder, live=live, swap=self._swap)
        if tap is None:
            return follower
        return open_sender(self._config, tap=tap, follower=follower, clock=SystemClock(), metrics=self._metrics)

    def _adaptation(self, tap: Tap, *, encoder: EncoderBundle) -> AdaptationLoop:
        from workers.opening.adaptation import open_adaptation
        from workers.opening.recalibration import open_topics

        self._topics = open_topics(self._config, encoder=encoder)
        self.adaptation = open_adaptation(
            self._config,
            encoder=encoder,
            tap=tap,
            swap=self._swap,
            clock=SystemClock(),
            metrics=self._metrics,
            announce=self._announce,
        )
        return self.adaptation

    def _announce(self, kind: str, told: dict[str, Any]) -> None:
        """The page of drift hears what topics are told."""
        self._drift.hear(kind, told)
        if self._topics is not None:
            self._topics.announce(kind, told)

    def _told_of_batches(self, tap: Tap | None) -> TapLike:
        """The wall sees every batch, and so do those who look for pictures to label, and adaptation."""
        wall, first, drift = self._wall, self._first, self._drift

        def told(batch: Batch, features: Features, scores: Scores, made: Sequence[Prediction], live: LiveHead) -> None:
            wall.see(batch, features, made)
            drift.count(made)
            if first is not None:
                first.see(batch, features, made)
            if tap is not None:
                tap(batch, features, scores, made, live)

        return told

    def _review(self, encoder: EncoderBundle, *, clock: SystemClock) -> ASGIApp | None:
        line = RunningLine(
            wall=self._wall,
            live=lambda: self.line.live,
            sources=lambda: self.line.status()["sources"],
            state=lambda: None if self.adaptation is None else self.adaptation.state,
            first=self._first,
            drift=self._drift,
            by_hand=lambda version: self._promote(version, encoder=encoder),
        )
        return open_review(self._config, encoder=encoder, line=line, clock=clock)

    def _promote(self, version: int, *, encoder: EncoderBundle) -> None:
        """By a person's hand, where no loop decides about heads. Raises BundleError for one that does not fit."""
        head = self._config.head.model_copy(update={"version": version})
        opened = open_head(self._config.model_copy(update={"head": head}), encoder=encoder)
        registry.promote(head.registry / head.name, version=version, encoder=encoder.image.info)
        self.policy = opened.policy
        self._swap(opened.live)

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
        self._triggers.start()
        self.line.start()

    def stop(self) -> None:
        """Drain in flow order within the configured time; may be called twice.

        Raises WorkerDied where a thread had died, ShutdownTimeout where one would not end.
        """
        if self._stopped:
            return
        self._stopped = True
        self._triggers.close()
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
