"""Latency at half of the encoder's capacity: what a frame waits beyond the encoder's own work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.interfaces import Clock, Encoder, Source
from pipeline.types import Prediction, UInt8Array
from workers.bench.feeds import MemorySource, even_gaps, poisson_gaps
from workers.bench.parts import Alone, measure_alone
from workers.bench.rig import MAX_WAIT_S, MakeSources, Plan, run_line
from workers.bench.throughput import N_SOURCES, Effort

TARGET_BEYOND_DEADLINE_S = 0.005
LOAD = 0.5  # of the encoder's best rate
N_LEAST = 200  # frames of a run, whatever the rate: below, a 99th percentile is the slowest frame
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivered frame, monotonic seconds."""

    received_at: float
    decided_at: float
    delivered_at: float
    infer_s: float  # of its batch


def measure_latency(
    encoder: Encoder,
    *,
    ladder: Sequence[int],
    images: Sequence[UInt8Array],
    effort: Effort,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Even and Poisson arrivals. Latency is from when a frame was due to when its sink had it."""
    alone = measure_alone(encoder, ladder=ladder, n_repeats=effort.n_repeats)
    rate = LOAD * alone.frames_per_second
    figures: dict[str, Any] = {
        "picture": list(images[0].shape[1::-1]),
        "deadline_ms": 1e3 * MAX_WAIT_S,
        "limit_ms": 1e3 * (MAX_WAIT_S + TARGET_BEYOND_DEADLINE_S),
        "encoder_frames_per_second": alone.frames_per_second,
        "arrivals_per_second": rate,
    }
    for name in ("even", "poisson"):
        say(f"{encoder.info.name}: {name} arrivals at {rate:.1f} frames/s")
        sources = _sources(images, arrivals=name, rate=rate / N_SOURCES)
        figures[name] = _run(encoder, ladder=ladder, alone=alone, sources=sources, n=round(rate * effort.seconds))
    return figures


def _sources(images: Sequence[UInt8Array], *, arrivals: str, rate: float) -> MakeSources:
    def gaps(n: int) -> Iterator[float]:
        return even_gaps(rate=rate) if arrivals == "even" else poisson_gaps(rate=rate, seed=n)

    def make(clock: Clock) -> list[Source]:
        return [MemorySource(f"cam-{n}", images=images, clock=clock, gaps_s=gaps(n)) for n in range(N_SOURCES)]

    return make


def _run(encoder: Encoder, *, ladder: Sequence[int], alone: Alone, sources: MakeSources, n: int) -> dict[str, Any]:
    arrivals: list[Arrival] = []
    busy: list[tuple[float, float]] = []

    def seen(predictions: Sequence[Prediction], at: float) -> None:
        arrivals.extend(Arrival(one.ref.received_at, one.decided_at, at, one.timing.infer_s) for one in predictions)

    n_frames = max(N_LEAST, n)
    n_warm = n_frames // 10
    plan = Plan(
        sources=sources,
        encoder=encoder,
        ladder=ladder,
        cost=alone.cost,
        n_warm=n_warm,
        n_frames=n_frames,
        seen=seen,
        busy=busy,
    )
    figures = run_line(plan)
    counted = arrivals[n_warm : n_warm + n_frames]
    return {
        **waits(counted, busy=busy),
        "n_frames": len(counted),
        "mean_batch": figures.n_frames / figures.n_batches,
        "encoder_busy_share": figures.stages["encode"]["wall_ms"] * figures.frames_per_second / 1e3,
        "stages": figures.stages,
    }


def waits(arrivals: Sequence[Arrival], *, busy: Sequence[tuple[float, float]]) -> dict[str, float]:
    """p50 and p99, ms: the whole latency; without its own batch's encoding; without all time the encoder worked.

    The last one also leaves out the batch that was running when a frame came: with one encoder nobody can avoid that.
    """
    received = np.array([one.received_at for one in arrivals])
    delivered = np.array([one.delivered_at for one in arrivals])
    decided = np.array([one.decided_at for one in arrivals])
    own = np.array([one.infer_s for one in arrivals])
    whole = delivered - received
    worked = busy_before(delivered, busy=busy) - busy_before(received, busy=busy)
    kinds = {
        "latency": whole,
        "beyond_own_batch": whole - own,
        "beyond_encoder_busy": whole - worked,
        "beyond_own_batch_to_decision": decided - received - own,  # without the sink and its fsync
    }
    return {
        f"{name}_p{q}_ms": 1e3 * float(np.quantile(values, q / 100)) for name, values in kinds.items() for q in (50, 99)
    }


def busy_before(at: Floats, *, busy: Sequence[tuple[float, float]]) -> Floats:
    """Seconds that the encoder had worked up to each instant of `at`."""
    edges = np.array(busy).reshape(-1)  # start, end, start, end, ...
    worked = np.cumsum(np.diff(edges, prepend=edges[0]) * (np.arange(edges.size) % 2))
    return np.interp(at, edges, worked)
