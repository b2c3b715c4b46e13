"""Resident memory over many frames: the slope, with its 95 % confidence interval."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.encoders.ladder import BatchCost
from pipeline.interfaces import Encoder
from workers.bench.host_cost import looped
from workers.bench.machine import BYTES_PER_MB, rss_bytes
from workers.bench.rig import Plan, run_line

N_FRAMES = 20_000
WARM_SHARE = 0.1  # of the frames, while allocators and caches fill
N_BLOCKS = 20  # neighbouring samples are alike: means of blocks are the honest sample
_T_95 = 2.101  # Student's t, two-sided 95 %, for N_BLOCKS - 2 = 18 degrees of freedom


def measure_memory(path: Path, *, encoder: Encoder, ladder: Sequence[int], cost: BatchCost, n: int) -> dict[str, Any]:
    """Run n frames of the file, over and over, through a whole line while watching this process."""
    seen, rss = array("q"), array("q")  # flat, so that the measurement itself hardly grows

    def watch(n_seen: int) -> None:
        seen.append(n_seen)
        rss.append(rss_bytes())

    plan = Plan(
        sources=looped(path),
        encoder=encoder,
        ladder=ladder,
        cost=cost,
        n_warm=round(WARM_SHARE * n),
        n_frames=n,
        watch=watch,
    )
    figures = run_line(plan)
    start = next((at for at in range(1, len(seen)) if seen[at] < seen[at - 1]), 0)  # the window began a new count
    counted = list(zip(seen[start:], rss[start:], strict=True))
    slope, margin = slope_mb_per_1000(counted)
    return {
        "rss_slope_mb_per_1000_frames": slope,
        "rss_slope_ci95_mb_per_1000_frames": [slope - margin, slope + margin],
        "rss_start_mb": counted[0][1] / BYTES_PER_MB,
        "rss_end_mb": counted[-1][1] / BYTES_PER_MB,
        "rss_highest_mb": max(size for _, size in counted) / BYTES_PER_MB,
        "n_frames": figures.n_frames,
        "n_samples": len(counted),
        "frames_per_second": figures.frames_per_second,
    }


def slope_mb_per_1000(samples: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(slope, half width of its 95 % interval) of bytes over frames, by least squares through block means."""
    if len(samples) < N_BLOCKS:
        raise ValueError(f"slope: expected at least {N_BLOCKS} samples, got {len(samples)}")
    blocks = np.array_split(np.array(samples, np.float64), N_BLOCKS)
    n, rss = np.array([block.mean(axis=0) for block in blocks]).T
    n, rss = n / 1e3, rss / BYTES_PER_MB
    spread = ((n - n.mean()) ** 2).sum()
    slope = ((n - n.mean()) * (rss - rss.mean())).sum() / spread
    left = rss - rss.mean() - slope * (n - n.mean())
    return float(slope), float(_T_95 * np.sqrt((left**2).sum() / (N_BLOCKS - 2) / spread))
