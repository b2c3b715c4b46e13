"""From 1080p H.264 and JPEG: what the host pays per frame above decoding, and how near a line comes to its encoder."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.encoders.ladder import BatchCost
from pipeline.errors import SourceExhausted
from pipeline.interfaces import Clock, Encoder, Source
from workers.bench.machine import cpu_s
from workers.bench.parts import SleepingEncoder, measure_alone
from workers.bench.rig import MakeSources, Plan, run_line
from workers.bench.stages import WindowFigures
from workers.bench.throughput import N_SOURCES, Effort, interleave
from workers.clock import SystemClock
from workers.sources.replay import ReplaySource

TARGET_CPU_MS = 9.0
TARGET_RATIO = 0.80
SLEEP_COST = BatchCost(a_s=0.010, b_s=0.010)  # of the sleeping encoder: a mid-range accelerator
SLEEP_LADDER = tuple(range(1, 17))


def measure_host_cost(path: Path, *, image_size: int, n_frames: int, n_rounds: int) -> dict[str, Any]:
    """CPU of the process per frame with a sleeping encoder, less that of reading alone; A B A B."""
    encoder = SleepingEncoder(image_size=image_size, embedding_dim=512, cost=SLEEP_COST, clock=SystemClock())
    plan = Plan(
        sources=looped(path),
        encoder=encoder,
        ladder=SLEEP_LADDER,
        cost=SLEEP_COST,
        n_warm=2 * SLEEP_LADDER[-1],
        n_frames=n_frames,
    )
    decoding: list[float] = []
    runs: list[WindowFigures] = []
    for _ in range(n_rounds):
        decoding.append(decode_cpu_ms(path, n=n_frames))
        runs.append(run_line(plan))
    above = [run.cpu_ms_per_frame - one for run, one in zip(runs, decoding, strict=True)]
    return {
        "cpu_ms_above_decoding": statistics.median(above),
        "cpu_ms_above_decoding_by_round": above,
        "cpu_ms_per_frame": statistics.median(run.cpu_ms_per_frame for run in runs),
        "cpu_ms_decoding": statistics.median(decoding),
        "frames_per_second": statistics.median(run.frames_per_second for run in runs),
        "stages": runs[-1].stages,
        "n_frames": runs[-1].n_frames,
    }


def measure_from_file(
    path: Path, *, encoder: Encoder, ladder: Sequence[int], effort: Effort, say: Callable[[str], None]
) -> dict[str, Any]:
    """Throughput from a file beside the encoder alone; A B A B."""
    alone = measure_alone(encoder, ladder=ladder, n_repeats=effort.n_repeats)
    return interleave(encoder, ladder=ladder, alone=alone, sources=looped(path), effort=effort, say=say)


def decode_cpu_ms(path: Path, *, n: int) -> float:
    """CPU of the process per frame when the product's own reader only reads."""
    source = replay(path, source_id="cam-0", clock=SystemClock(), loop=True)
    source.open()
    source.read()
    started = cpu_s()
    for _ in range(n):
        if source.read() is None:
            raise SourceExhausted(f"bench: {path} ended")
    spent = cpu_s() - started
    source.close()
    return 1e3 * spent / n


def replay(path: Path, *, source_id: str, clock: Clock, loop: bool) -> Source:
    """The product's own reader of files, as fast as it goes."""
    return ReplaySource(source_id, path=path, clock=clock, speed="as_fast", loop=loop)


def looped(path: Path) -> MakeSources:
    """Two cameras that play the path over and over."""

    def sources(clock: Clock) -> list[Source]:
        return [replay(path, source_id=f"cam-{n}", clock=clock, loop=True) for n in range(N_SOURCES)]

    return sources
