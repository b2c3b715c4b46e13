"""Where the time goes: real parts wrapped so that each call is timed, over a window of whole batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.batcher import Batcher
from pipeline.decision import Decider
from pipeline.interfaces import Encoder, Head, PipelinedEncoder, Sink, Source
from pipeline.types import (
    Batch,
    DeadLetter,
    EncoderInfo,
    Features,
    Frame,
    Prediction,
    Scores,
    SourceFrame,
    UInt8Array,
)
from workers.bench.machine import cpu_s

T = TypeVar("T")
INFERENCE_STAGES = ("fill", "encode", "head", "decide")  # in the one thread that sets the pace


@dataclass(slots=True)
class _Stage:
    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """One window: from the start of one batch to the start of a later one."""

    n_frames: int
    n_batches: int
    wall_s: float
    cpu_s: float  # of all threads of the process
    stages: dict[str, dict[str, float]]  # ms per frame, wall and CPU; see `Window.figures`

    @property
    def frames_per_second(self) -> float:
        """Frames decided per second of the window."""
        return self.n_frames / self.wall_s

    @property
    def cpu_ms_per_frame(self) -> float:
        """CPU of the whole process per frame."""
        return 1e3 * self.cpu_s / self.n_frames


class Window:
    """Opens at the first batch after `n_warm` frames, closes at the first batch start `n_frames` later.

    Any thread may `call`; `tick` belongs to the inference thread.
    """

    def __init__(self, *, n_warm: int, n_frames: int) -> None:
        self._n_warm, self._n_wanted = n_warm, n_frames
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}
        self._started: tuple[float, float, float] | None = None  # wall, process CPU, CPU of the inference thread
        self._ended: tuple[float, float, float] | None = None
        self._n_batches = 0
        self.n_seen = 0
        self.done = threading.Event()

    def tick(self, n: int) -> None:
        """A batch of n begins."""
        if self._ended is not None:
            return
        if self._started is None:
            if self.n_seen >= self._n_warm:
                with self._lock:
                    self._stages.clear()
                self.n_seen, self._started = 0, _now()
        elif self.n_seen >= self._n_wanted:
            self._ended = _now()
            self.done.set()
            return
        self._n_batches += self._started is not None
        self.n_seen += n

    def call(self, stage: str, work: Callable[[], T]) -> T:
        """Do `work` and book its time; what raises is booked too."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return work()
        finally:
            spent = time.perf_counter() - wall, time.thread_time() - cpu
            if self._ended is None:
                with self._lock:
                    one = self._stages.setdefault(stage, _Stage())
                    one.wall_s += spent[0]
                    one.cpu_s += spent[1]

    def figures(self) -> WindowFigures:
        """Once `done`. `hand_over` is the inference thread's CPU between its stages, `waiting` the rest of its time."""
        if self._started is None or self._ended is None:
            raise RuntimeError(f"window: expected {self._n_wanted} frames, got {self.n_seen}")
        wall, cpu, thread = (end - start for start, end in zip(self._started, self._ended, strict=True))
        n = self.n_seen
        stages = {
            name: {"wall_ms": 1e3 * one.wall_s / n, "cpu_ms": 1e3 * one.cpu_s / n} for name, one in self._stages.items()
        }
        booked = [self._stages[name] for name in INFERENCE_STAGES if name in self._stages]
        hand_over_s = max(0.0, thread - sum(one.cpu_s for one in booked))
        waiting_s = max(0.0, wall - sum(one.wall_s for one in booked) - hand_over_s)
        stages["hand_over"] = {"wall_ms": 1e3 * hand_over_s / n, "cpu_ms": 1e3 * hand_over_s / n}
        stages["waiting"] = {"wall_ms": 1e3 * waiting_s / n, "cpu_ms": 0.0}
        return WindowFigures(n, self._n_batches, wall, cpu, stages)


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), cpu_s(), time.thread_time()


class TimedBatcher(Batcher):
    """Sets the window's pace: a batch begins when it is filled."""

    window: Window

    def fill(self, frames: Sequence[Frame], *, now: float) -> Batch:
        """As the batcher's."""
        self.window.tick(len(frames))
        return self.window.call("fill", lambda: super(TimedBatcher, self).fill(frames, now=now))


class TimedDecider(Decider):
    """Decides as the one it is."""

    window: Window

    def decide(self, scores: Scores, **about: Any) -> list[Prediction]:
        """As the decider's."""
        return self.window.call("decide", lambda: super(TimedDecider, self).decide(scores, **about))


@dataclass(frozen=True, slots=True)
class TimedEncoder:
    """An encoder whose calls are booked; `busy`, where given, gets (start, end) of each, monotonic seconds."""

    encoder: Encoder
    window: Window
    busy: list[tuple[float, float]] | None

    @property
    def info(self) -> EncoderInfo:
        """As the encoder's."""
        return self.encoder.info

    def encode(self, batch: Batch) -> Features:
        """As the encoder's."""
        started_at = time.monotonic()
        features = self.window.call("encode", lambda: self.encoder.encode(batch))
        if self.busy is not None:
            self.busy.append((started_at, time.monotonic()))
        return features


@dataclass(frozen=True, slots=True)
class TimedPipelinedEncoder(TimedEncoder):
    """The same for one whose device works on its own: starting and collecting are both booked as encoding."""

    encoder: PipelinedEncoder

    @property
    def n_in_flight(self) -> int:
        """As the encoder's."""
        return self.encoder.n_in_flight

    def submit(self, batch: Batch) -> Callable[[], Features]:
        """As the encoder's; busy from here to the end of the collecting call."""
        started_at = time.monotonic()
        collect = self.window.call("encode", lambda: self.encoder.submit(batch))

        def collected() -> Features:
            features = self.window.call("encode", collect)
            if self.busy is not None:
                self.busy.append((started_at, time.monotonic()))
            return features

        return collected


def timed_encoder(encoder: Encoder, *, window: Window, busy: list[tuple[float, float]] | None) -> Encoder:
    """The wrapper that hides nothing of what the encoder can do."""
    if isinstance(encoder, PipelinedEncoder):
        return TimedPipelinedEncoder(encoder, window, busy)
    return TimedEncoder(encoder, window, busy)


@dataclass(frozen=True, slots=True)
class TimedHead:
    """A head whose calls are booked."""

    head: Head
    window: Window

    @property
    def name(self) -> str:
        """As the head's."""
        return self.head.name

    @property
    def classes(self) -> tuple[str, ...]:
        """As the head's."""
        return self.head.classes

    @property
    def n_levels(self) -> int:
        """As the head's."""
        return self.head.n_levels

    def score(self, features: Features) -> Scores:
        """As the head's."""
        return self.window.call("head", lambda: self.head.score(features))


@dataclass(frozen=True, slots=True)
class TimedSource:
    """A source whose reads are booked: decoding, where it decodes."""

    source: Source
    window: Window

    @property
    def source_id(self) -> str:
        """As the source's."""
        return self.source.source_id

    @property
    def live(self) -> bool:
        """As the source's."""
        return self.source.live

    def open(self) -> None:
        """As the source's."""
        self.source.open()

    def read(self) -> SourceFrame | None:
        """As the source's."""
        return self.window.call("read", self.source.read)

    def ack(self, position: object) -> None:
        """As the source's."""
        self.source.ack(position)

    def close(self) -> None:
        """As the source's."""
        self.source.close()


@dataclass(frozen=True, slots=True)
class TimedSink:
    """A sink whose deliveries are booked; `seen` is told of each after it, with the time of it."""

    sink: Sink
    window: Window
    seen: Callable[[Sequence[Prediction], float], None] | None

    @property
    def name(self) -> str:
        """As the sink's."""
        return self.sink.name

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """As the sink's."""
        self.window.call("publish", lambda: self.sink.deliver(predictions))
        if self.seen is not None:
            self.seen(predictions, time.monotonic())

    def dead_letter(self, letter: DeadLetter) -> None:
        """As the sink's."""
        self.sink.dead_letter(letter)

    def flush(self) -> None:
        """As the sink's."""
        self.sink.flush()

    def close(self) -> None:
        """As the sink's."""
        self.sink.close()


def timed_cut(cut: Callable[[UInt8Array], UInt8Array], *, window: Window) -> Callable[[UInt8Array], UInt8Array]:
    """A preprocessor whose calls are booked."""
    return lambda image: window.call("preprocess", lambda: cut(image))
