"""Encoders and heads to measure with: real towers, and one that only takes its time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.decision import DecisionPolicy, HeadIdentity
from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.encoders.ladder import BatchCost, as_batch, fit_cost
from pipeline.encoders.open_clip_model import DEMO_CLIP
from pipeline.encoders.tower import Normalise
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.interfaces import Clock, Encoder, Head
from pipeline.types import Batch, EncoderInfo, Features
from workers.bench.stages import TimedDecider, TimedHead, Window
from workers.live_head import LiveHead

SEED = 20260131
N_CLASSES = 11
SWEEP = (1, 2, 4, 8, 12, 16, 32, 64)  # as far as the device's ladder goes
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of open_clip's own transform
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def load_encoder(model: str, *, threads: int, backend: str = "torch", device: str = "cpu") -> EncoderBundle:
    """An open_clip tower: `demo_clip` with its own weights, any other with seeded random ones."""
    seed = None if model == DEMO_CLIP else SEED
    return build_encoder(backend=backend, model=model, random_weights_seed=seed, threads=threads, device=device)


class SleepingEncoder:
    """Normalises its pixels on the host as a peer's transform does, then sleeps for a_s + b_s * n."""

    def __init__(self, *, image_size: int, embedding_dim: int, cost: BatchCost, clock: Clock) -> None:
        """Takes one torch thread for the process: more of them spin while they wait, and that is CPU as well."""
        torch.set_num_threads(1)
        self.cost = cost
        self._clock = clock
        self._normalise = Normalise(mean=CLIP_MEAN, std=CLIP_STD)
        self._image = unit_rows(np.random.default_rng(SEED).normal(size=(64, embedding_dim)).astype(np.float32))
        self.info = EncoderInfo(
            name="sleeping",
            sha256="",
            image_size=image_size,
            embedding_dim=embedding_dim,
            level_dims=(),
            mean=CLIP_MEAN,
            std=CLIP_STD,
            resize_mode="shortest",
            interpolation="bicubic",
            has_text=False,
        )

    def encode(self, batch: Batch) -> Features:
        """Fixed unit rows, after the time."""
        self._normalise(torch.from_numpy(batch.pixels))
        self._clock.wait(self.cost.seconds(batch.size))
        return Features(image=self._image[: batch.size])


def make_head(encoder: Encoder) -> Head:
    """Zero-shot over seeded random prototypes: the labels mean nothing, the work is the same."""
    rows = np.random.default_rng(SEED).normal(size=(N_CLASSES, encoder.info.embedding_dim)).astype(np.float32)
    names = tuple(f"class_{n:02d}" for n in range(N_CLASSES))
    return ZeroShotHead(classes=names, prototypes=unit_rows(rows), scale=100.0)


def make_live(head: Head, *, encoder: Encoder, window: Window) -> LiveHead:
    """The head with its decider, both booked in `window`."""
    decider = TimedDecider(
        classes=head.classes,
        temperature=1.0,
        policy=DecisionPolicy(good_classes=frozenset(head.classes[:1])),
        identity=HeadIdentity(name=head.name, version=1, bundle_sha256="", encoder=encoder.info.name),
    )
    decider.window = window
    return LiveHead(head=TimedHead(head, window), decider=decider)


@dataclass(frozen=True, slots=True)
class Alone:
    """The encoder without a line around it."""

    best_size: int
    frames_per_second: float  # at the best size
    by_size: dict[int, float]  # frames per second
    cost: BatchCost


def measure_alone(encoder: Encoder, *, ladder: Sequence[int], n_repeats: int) -> Alone:
    """Every size of SWEEP that the ladder holds, after one unmeasured batch; medians."""
    sizes = [size for size in SWEEP if size in ladder]
    seconds = {}
    for size in sizes:
        encode_for(encoder, size=size, n_batches=1)
        runs = [encode_for(encoder, size=size, n_batches=1).wall_s for _ in range(n_repeats)]
        seconds[size] = statistics.median(runs)
    cost = fit_cost(sizes, [seconds[size] for size in sizes])
    rates = {size: size / spent for size, spent in seconds.items()}
    best = max(rates, key=lambda size: rates[size])
    return Alone(best, rates[best], rates, cost)


@dataclass(frozen=True, slots=True)
class Spent:
    """One run of the encoder alone."""

    n_frames: int
    wall_s: float
    cpu_s: float  # of the calling thread

    @property
    def frames_per_second(self) -> float:
        """Frames encoded per second."""
        return self.n_frames / self.wall_s


def encode_for(encoder: Encoder, *, size: int, n_batches: int) -> Spent:
    """`n_batches` batches of `size` random pictures, one after the other, on the calling thread."""
    batch = _batch(size, side=encoder.info.image_size)
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(n_batches):
        encoder.encode(batch)
    return Spent(n_batches * size, time.perf_counter() - wall, time.thread_time() - cpu)


def _batch(size: int, *, side: int) -> Batch:
    return as_batch(np.random.default_rng(SEED).integers(0, 256, (size, side, side, 3), np.uint8))
