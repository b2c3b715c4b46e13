"""The batch sizes an encoder is prepared for, and what a batch costs, so that the batcher can choose."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.errors import EncoderError
from pipeline.interfaces import Encoder
from pipeline.types import Batch, UInt8Array

_CPU_LARGEST = 16  # beyond it a CPU gains nothing per picture and every picture waits longer
_CUDA_LADDER = (1, 2, 4, 8, 16, 32, 64)  # graphs gain most at 1-8 pictures and nothing at 256


@dataclass(frozen=True, slots=True)
class BatchCost:
    """Seconds for a batch of n: a_s + b_s * n."""

    a_s: float
    b_s: float

    def seconds(self, n: int) -> float:
        """Predicted time of a batch of n rows."""
        return self.a_s + self.b_s * n

    @property
    def pad_limit(self) -> float:
        """Pad up to a bucket that has fewer empty rows than this (a/b); else two smaller batches are cheaper."""
        return self.a_s / self.b_s


def default_ladder(device: str) -> tuple[int, ...]:
    """Every size on a CPU, where a batch takes what is ready; powers of two on CUDA, with a graph each."""
    return _CUDA_LADDER if device.startswith("cuda") else tuple(range(1, _CPU_LARGEST + 1))


def check_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    """The ladder as given; raises EncoderError unless its sizes are positive and ascending."""
    sizes = tuple(ladder)
    if not sizes or sizes[0] < 1 or any(a >= b for a, b in pairwise(sizes)):
        raise EncoderError(f"batch_sizes must be ascending from 1 or more, got {list(sizes)}")
    return sizes


def landmarks(ladder: Sequence[int]) -> tuple[int, ...]:
    """The smallest, the largest and the powers of two between: enough to see a line, or a kernel that goes wrong.

    A CPU runs the same code at every size; at 16 sizes the full ladder would cost a slow encoder most of a minute.
    """
    return tuple(size for size in ladder if size in (ladder[0], ladder[-1]) or size & (size - 1) == 0)


def choose_bucket(n: int, *, ladder: Sequence[int]) -> int:
    """The smallest size that holds n rows."""
    bucket = next((size for size in ladder if size >= n), None)
    if bucket is None:
        raise EncoderError(f"a batch must have at most {ladder[-1]} rows, got {n}; add a larger batch size")
    return bucket


def as_batch(pixels: UInt8Array) -> Batch:
    """A batch without frames, for measuring, checking and encoding stored pictures."""
    return Batch(pixels=pixels, refs=(), evidence=(), formed_at=0.0, slot=0)


def measure_cost(
    encoder: Encoder, ladder: Sequence[int], *, n_repeats: int = 3, now: Callable[[], float] = time.perf_counter
) -> BatchCost:
    """Least-squares line through the median time of each size; every size runs once unmeasured first.

    Blocks for (n_repeats + 1) batches of every size. With one size, all cost counts as per picture.
    """
    side = encoder.info.image_size
    rng = np.random.default_rng(0)
    sizes = check_ladder(ladder)
    pixels = rng.integers(0, 256, size=(sizes[-1], side, side, 3), dtype=np.uint8)
    medians = []
    for size in sizes:
        batch = as_batch(pixels[:size])
        encoder.encode(batch)
        medians.append(statistics.median(_seconds(encoder, batch, now=now) for _ in range(n_repeats)))
    return fit_cost(sizes, medians)


def fit_cost(sizes: Sequence[int], seconds: Sequence[float]) -> BatchCost:
    """t = a + b n with a >= 0 and b > 0, which noise alone could deny."""
    n, t = np.asarray(sizes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    spread = float(((n - n.mean()) ** 2).sum())
    b = float(((n - n.mean()) * (t - t.mean())).sum()) / spread if spread else 0.0
    a = float(t.mean() - b * n.mean())
    if b <= 0.0 or a < 0.0:
        through_origin = float((n * t).sum() / (n * n).sum())
        return BatchCost(a_s=0.0, b_s=max(through_origin, np.finfo(np.float64).tiny))
    return BatchCost(a_s=a, b_s=b)


def _seconds(encoder: Encoder, batch: Batch, *, now: Callable[[], float]) -> float:
    start = now()
    encoder.encode(batch)
    return now() - start
