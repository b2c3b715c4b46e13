"""Decoded frames in memory to decisions, beside the same encoder alone at its best batch size."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.interfaces import Clock, Encoder, Source
from pipeline.types import UInt8Array
from workers.bench.feeds import MemorySource
from workers.bench.parts import Alone, Spent, encode_for, measure_alone
from workers.bench.rig import MakeSources, Plan, run_line
from workers.bench.stages import INFERENCE_STAGES, WindowFigures

TARGET_RATIO = 0.90
N_SOURCES = 2  # their queues together hold a largest batch of the CPU ladder


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    seconds: float  # of each run
    n_rounds: int  # of encoder alone, line, encoder alone, line, ...
    n_repeats: int  # of each batch size in the sweep


def measure_throughput(
    encoder: Encoder,
    *,
    ladder: Sequence[int],
    images: Sequence[UInt8Array],
    effort: Effort,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Interleaved runs; the ratio is the median over the rounds of line / encoder alone just before it."""
    alone = measure_alone(encoder, ladder=ladder, n_repeats=effort.n_repeats)
    say(f"{encoder.info.name}: alone {alone.frames_per_second:.1f} frames/s at batch {alone.best_size}")

    def sources(clock: Clock) -> list[Source]:
        return [MemorySource(f"cam-{n}", images=images, clock=clock) for n in range(N_SOURCES)]

    picture = list(images[0].shape[1::-1])
    return {
        "picture": picture,
        **interleave(encoder, ladder=ladder, alone=alone, sources=sources, effort=effort, say=say),
    }


def interleave(
    encoder: Encoder,
    *,
    ladder: Sequence[int],
    alone: Alone,
    sources: MakeSources,
    effort: Effort,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Encoder alone, line, encoder alone, line, ..."""
    n_frames = max(2 * ladder[-1], round(alone.frames_per_second * effort.seconds))
    n_batches = max(1, round(n_frames / alone.best_size))
    plan = Plan(sources=sources, encoder=encoder, ladder=ladder, cost=alone.cost, n_warm=ladder[-1], n_frames=n_frames)
    singles: list[Spent] = []
    runs: list[WindowFigures] = []
    for number in range(effort.n_rounds):
        singles.append(encode_for(encoder, size=alone.best_size, n_batches=n_batches))
        runs.append(run_line(plan))
        both = f"alone {singles[-1].frames_per_second:.1f}, line {runs[-1].frames_per_second:.1f} frames/s"
        say(f"{encoder.info.name}, round {number + 1}: {both}")
    return compare(singles, runs, alone=alone)


def compare(singles: Sequence[Spent], runs: Sequence[WindowFigures], *, alone: Alone) -> dict[str, Any]:
    """The ratio, both absolute figures, and where the line's time went (its run nearest to the median).

    Two figures hold on a busy machine too: `thread_cpu_ratio` compares CPU instead of time, and `encode_share` is the
    part of the line's own time that its encoder worked.
    """
    ratios = [run.frames_per_second / one.frames_per_second for one, run in zip(singles, runs, strict=True)]
    ratio = statistics.median_low(ratios)
    chosen = ratios.index(ratio)
    run, single = runs[chosen], singles[chosen]
    thread_ms = sum(run.stages[name]["cpu_ms"] for name in (*INFERENCE_STAGES, "hand_over"))
    return {
        "ratio": ratio,
        "thread_cpu_ratio": 1e3 * single.cpu_s / single.n_frames / thread_ms,
        "encode_share": run.stages["encode"]["wall_ms"] * run.frames_per_second / 1e3,
        "ratios": ratios,
        "line_frames_per_second": statistics.median(one.frames_per_second for one in runs),
        "encoder_frames_per_second": statistics.median(one.frames_per_second for one in singles),
        "encoder_cpu_ms_per_frame": 1e3 * single.cpu_s / single.n_frames,
        "encoder_best_batch": alone.best_size,
        "encoder_frames_per_second_by_batch": {str(size): rate for size, rate in alone.by_size.items()},
        "encoder_cost_ms": {"per_batch": 1e3 * alone.cost.a_s, "per_row": 1e3 * alone.cost.b_s},
        "mean_batch": run.n_frames / run.n_batches,
        "n_frames": run.n_frames,
        "cpu_ms_per_frame": run.cpu_ms_per_frame,
        "wall_ms_per_frame": 1e3 * run.wall_s / run.n_frames,
        "stages": run.stages,
    }
