"""A simulated line at full speed whose pictures can be changed while it runs, with the real loop beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.adaptation.drift.profile import ReferenceRules
from pipeline.adaptation.lifecycle.states import State
from pipeline.batcher import Batcher
from pipeline.encoders.ladder import landmarks, measure_cost
from pipeline.errors import DataError, SourceExhausted, SourceUnavailable
from pipeline.preprocess import Preprocessor
from pipeline.simulation.disturbances import Disturbance
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Batch, Features, Prediction, Roi, Scores, SourceFrame, UInt8Array
from workers.adaptation.loop import TICK_S
from workers.adaptation.requests import RequestKind, submit
from workers.adaptation.rereference import run_job
from workers.adaptation.sensors import EVERY_S
from workers.adaptation.tap import Tap
from workers.captures import Feed
from workers.clock import SystemClock
from workers.commands.demo import SHIPPED, render_labelled
from workers.commands.drift_demo_people import Oracle, Tallying
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config
from workers.line import Line, Say
from workers.live_head import LiveHead, TapLike
from workers.metrics.registry import Metrics
from workers.opening.adaptation import Pace, open_adaptation
from workers.opening.line import open_encoder, open_head

WIDTH, HEIGHT = 192, 144  # the encoder sees 96 pixels
SEED = 20_001
SHOTS = 8
SOURCE, ROI = "cap-01", "full"
REFERENCE_PARTS = 6_000
RULES = ReferenceRules(  # everything shortened: pictures are drawn at random here, so nothing wanders slowly
    mix_weight=0.1, advisory_parts=3_000, active_parts=6_000, mix_active_parts=6_000, correlation_times=10, memories=6
)
TEXTS = SHIPPED.parent / "texts" / "demo.yaml"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Rendered before the line starts: rendering costs more than encoding."""

    images: Sequence[UInt8Array]  # (H, W, 3) BGR
    truths: Sequence[str]


def render(
    n: int, *, seed: int, disturbances: Sequence[Disturbance] = (), weights: Mapping[str, float] | None = None
) -> Pictures:
    """n parts of one simulated line, disturbed from the first to the last."""
    line = SimulatedLine(SEED, width=WIDTH, height=HEIGHT, fps=10.0, disturbances=disturbances, weights=weights or None)
    frames = [line.render(seed + index) for index in range(n)]
    return Pictures([frame.image for frame in frames], [frame.truth for frame in frames])


class PicturesSource:
    """Draws pictures at random from those it shows now, as fast as they are read."""

    source_id = SOURCE
    live = False

    def __init__(self, *, clock: SystemClock, first: Pictures, seed: int) -> None:
        self.shown = first  # one assignment by the owner
        self.in_order = False  # one after the other instead of at random
        self.frozen = False
        self._clock = clock
        self._rng = np.random.default_rng(seed)
        self._n = 0
        self._is_open = False
        self.ended = False

    def open(self) -> None:
        """Begin."""
        self._is_open = True

    def read(self) -> SourceFrame:
        """The next part."""
        if not self._is_open:
            raise SourceUnavailable(f"source {SOURCE}: read needs an open source; call open first")
        if self.ended:
            raise SourceExhausted(f"source {SOURCE}: all frames were read")
        shown, self._n = self.shown, self._n + 1
        index = self._n if self.in_order else int(self._rng.integers(len(shown.images)))
        index = 0 if self.frozen else index % len(shown.images)
        truth = shown.truths[index]
        return SourceFrame(
            image=shown.images[index],
            captured_at=self._clock.utc(),
            capture_time_source="simulated",
            received_at=self._clock.monotonic(),
            position=self._n,
            truth=truth,
        )

    def ack(self, position: object) -> None:
        """Nothing to acknowledge."""

    def close(self) -> None:
        """Stop."""
        self._is_open = False


class DemoLine:
    """The line, its loop and its labellers; `start`, then change what the camera sees, then `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        first: Pictures,
        labels: int,
        pool: bool,
        say: Say,
        adapt: bool = True,
        hurried: bool = True,
    ) -> None:
        self.config = configuration(folder, labels=labels)
        self.classes = load_dictionary(TEXTS).class_ids
        say("loading the shipped encoder")
        self.encoder = open_encoder(self.config)
        say(f"fitting a head on {SHOTS} labelled pictures of each of {len(self.classes)} classes")
        self._fit(folder)
        self.clock, self.tallying = SystemClock(), Tallying()
        self.source = PicturesSource(clock=self.clock, first=first, seed=SEED)
        self.metrics = Metrics(clock=self.clock, version=version("clearline"))
        tap = Tap(clock=SystemClock())
        self.feeding = True  # the loop is told of batches
        self.loop = open_adaptation(
            self.config,
            encoder=self.encoder,
            tap=tap,
            swap=self._swap,
            clock=SystemClock(),
            metrics=self.metrics,
            announce=self._hear,
            pace=_pace(folder, pool=pool, hurried=hurried),
        )
        self.heard: list[tuple[int, str, dict[str, Any]]] = []  # parts so far, kind, what was told
        self.line = self._line(tap if adapt else None)
        files = self.config.adaptation.folder if self.config.adaptation else folder
        self.oracle = Oracle(
            files / "support.sqlite", encoder=self.encoder, classes=self.classes, tallying=self.tallying
        )

    @property
    def n_parts(self) -> int:
        """Decided so far."""
        return len(self.tallying.right)

    @property
    def state(self) -> State:
        """Of the loop."""
        return self.loop.state.state

    def make_reference(self) -> None:
        """Of all that is recorded: the healthy line."""
        made = run_job(self.loop.references.job(self.loop.state.champion, 0.0))
        if not made:
            raise DataError(f"demo: expected a recording of {RULES.advisory_parts} parts, got a shorter one")
        submit(self.loop.files, kind=RequestKind.REFERENCE, by="demo", at=self.clock.utc())

    def stop(self) -> None:
        """Drain and end all threads."""
        self.oracle.close()
        self.line.stop(timeout_s=60.0)
        if self.oracle.failure is not None:
            raise DataError(f"demo: the labellers stopped: {self.oracle.failure}") from self.oracle.failure

    def _fit(self, folder: Path) -> None:
        lines = [SimulatedLine(SEED, width=WIDTH, height=HEIGHT)]
        for class_id in self.classes:
            render_labelled(lines, class_id=class_id, n=SHOTS, folder=folder / "labelled")
        fit_folder(folder / "labelled", config=self.config, encoder=self.encoder)

    def _feed(self, tap: Tap) -> TapLike:
        def told(
            batch: Batch, features: Features, scores: Scores, predictions: Sequence[Prediction], live: LiveHead
        ) -> None:
            if self.feeding:
                tap(batch, features, scores, predictions, live)

        return told

    def _swap(self, live: LiveHead) -> None:
        self.line.swap(live)

    def _hear(self, kind: str, told: dict[str, Any]) -> None:
        self.heard.append((self.n_parts, kind, told))

    def _line(self, tap: Tap | None) -> Line:
        cut = Preprocessor(self.encoder.image.info, Roi())
        ladder = self.encoder.ladder
        live: LiveHead = open_head(self.config, encoder=self.encoder).live
        return Line(
            feeds=[
                Feed(
                    source=self.source,
                    cuts=lambda _camera: {ROI: cut},
                    drop_oldest=False,
                    queue_frames=2 * ladder[-1],
                    backoff_initial_s=0.1,
                    backoff_cap_s=1.0,
                )
            ],
            encoder=self.encoder.image,
            live=live,
            batcher=Batcher(
                sizes=ladder,
                image_size=self.encoder.image.info.image_size,
                max_wait_s=0.005,
                cost=measure_cost(self.encoder.image, landmarks(ladder)),
            ),
            sinks=[self.tallying],
            metrics=self.metrics,
            capture_clock=self.clock,
            queue_batches=8,
            tap=None if tap is None else self._feed(tap),
            beside=None if tap is None else self.loop,
        )


def _pace(folder: Path, *, pool: bool, hurried: bool) -> Pace:
    return Pace(
        tick_s=0.2 if hurried else TICK_S,
        sensor_every_s=0.05 if hurried else EVERY_S,
        approvals_before_auto=0,
        pool_rows=20_000 if pool else 0,
        rules=RULES,
        known=folder / "labelled",
    )


def configuration(folder: Path, *, labels: int) -> LineConfig:
    """The shipped demo's classes and costs, with all waiting shortened."""
    shipped = load_config(SHIPPED)
    content = {
        "version": 1,
        "cameras": [{"id": SOURCE, "source": {"type": "simulate", "seed": SEED, "width": WIDTH, "height": HEIGHT}}],
        "encoder": {"model": "demo_clip", "precision": "fp32"},
        "head": {"registry": str(folder / "heads"), "cache": str(folder / "cache"), "texts": str(TEXTS)},
        "decision": {"good_classes": list(shipped.decision.good_classes), "unknown_novelty": None},
        "sinks": [{"type": "jsonl", "path": str(folder / "results.jsonl")}],
        "server": {"port": 0},
        "adaptation": {
            "folder": str(folder / "adaptation"),
            "labels": {"teach": labels, "per_hour": 3_000, "audit_rejected": 0.01},
            "gate": {
                "auto_promote": True,
                "min_frames": 1_000,
                "escape_limit": 0.02,
                "probation_parts": 2_000,
                "probation_hours": 0.001,
                "cooldown_minutes": 0.1,
            },
        },
    }
    path = folder / "line.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_config(path)
