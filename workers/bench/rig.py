"""A whole line around an encoder, run for a window and taken down again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.encoders.ladder import BatchCost
from pipeline.errors import ClearlineError
from pipeline.interfaces import Clock, Encoder, Source
from pipeline.preprocess import Preprocessor
from pipeline.types import Prediction, Roi
from workers.bench.parts import make_head, make_live
from workers.bench.stages import (
    TimedBatcher,
    TimedSink,
    TimedSource,
    Window,
    WindowFigures,
    timed_cut,
    timed_encoder,
)
from workers.captures import Feed
from workers.clock import SystemClock
from workers.line import Line
from workers.metrics.registry import Metrics
from workers.sinks.jsonl import JsonlSink

MAX_WAIT_S = 0.020  # the configuration's defaults: batching.max_wait_ms, cameras.queue_frames, batching.queue_frames
QUEUE_FRAMES = 8
QUEUE_BATCHES = 32
STOP_TIMEOUT_S = 60.0
STALL_S = 120.0  # without a batch for this long something is broken
_TICK_S = 0.25

MakeSources = Callable[[Clock], Sequence[Source]]
Seen = Callable[[Sequence[Prediction], float], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. Sources are made anew for each run, on the clock that ends their waits."""

    sources: MakeSources
    encoder: Encoder
    cost: BatchCost
    n_warm: int
    n_frames: int
    ladder: Sequence[int]
    seen: Seen | None = None
    watch: Callable[[int], None] | None = None  # told the frames so far, a few times a second
    busy: list[tuple[float, float]] | None = None  # filled with the encoder's intervals


def run_line(plan: Plan) -> WindowFigures:
    """Start, wait for the window, stop. Raises ClearlineError when frames stop coming or are lost."""
    window = Window(n_warm=plan.n_warm, n_frames=plan.n_frames)
    with tempfile.TemporaryDirectory(prefix="clearline-bench-") as folder:
        line = _build(plan, window=window, folder=Path(folder))
        line.start()
        try:
            _wait(line, window=window, watch=plan.watch)
        finally:
            line.stop(timeout_s=STOP_TIMEOUT_S)
        balance = line.ledger.total()
    if balance.error or balance.dead_lettered:
        raise ClearlineError(f"bench: expected every frame decided and counted, got {balance}")
    return window.figures()


def _wait(line: Line, *, window: Window, watch: Callable[[int], None] | None) -> None:
    idle_s, last = 0.0, -1
    while not window.done.wait(_TICK_S):
        if watch is not None:
            watch(window.n_seen)
        idle_s = 0.0 if window.n_seen != last else idle_s + _TICK_S
        last = window.n_seen
        if idle_s > STALL_S or line.unhealthy() or line.finished:
            raise ClearlineError(f"bench: the line ended or stood still after {last} frames: {line.status()}")


def _build(plan: Plan, *, window: Window, folder: Path) -> Line:
    clock = SystemClock()
    batcher = TimedBatcher(
        sizes=plan.ladder,
        image_size=plan.encoder.info.image_size,
        max_wait_s=MAX_WAIT_S,
        cost=plan.cost,
    )
    batcher.window = window
    cut = timed_cut(Preprocessor(plan.encoder.info, Roi()), window=window)
    feeds = [
        Feed(
            source=TimedSource(source, window),
            cuts=lambda _camera: {"full": cut},
            drop_oldest=False,
            queue_frames=max(QUEUE_FRAMES, plan.ladder[-1]),
            backoff_initial_s=0.1,
            backoff_cap_s=1.0,
        )
        for source in plan.sources(clock)
    ]
    return Line(
        feeds=feeds,
        encoder=timed_encoder(plan.encoder, window=window, busy=plan.busy),
        live=make_live(make_head(plan.encoder), encoder=plan.encoder, window=window),
        batcher=batcher,
        sinks=[TimedSink(JsonlSink(folder / "results.jsonl", clock=SystemClock()), window, plan.seen)],
        metrics=Metrics(clock=clock, version="bench"),
        capture_clock=clock,
        queue_batches=QUEUE_BATCHES,
    )
