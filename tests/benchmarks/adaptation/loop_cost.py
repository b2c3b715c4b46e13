"""Processor time of the loop itself for a part, and of the charts within it, at the width of CLIP's embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.adaptation.lifecycle.states import State
from tests.adaptation.streams import FULL, NONE, Camera
from tests.benchmarks.adaptation.rows import Row
from tests.workers.adaptation.world import BATCH, CLASSES, GOOD, INFO, Setting, World
from workers.adaptation.tap import Seen
from workers.adaptation.trial import Trial

N_BATCHES = 120
SIZES = (1, 8, 64)  # parts of a batch of the line
VIT_B32_US = 1e6 / 9.6  # a part of ViT-B/32, `clearline bench --only throughput` on two cores


def rows(*, say: Callable[[str], None]) -> Iterator[Row]:
    """Recording, sensor checks, audit, charts, and another head in the shadow; healthy parts, no questions."""
    setting = Setting(CLASSES, GOOD, replace(INFO, embedding_dim=FULL.dim), lambda seed: Camera(seed, FULL, "iid"))
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "world", setting=setting)
        world.commission()
        assert world.state is State.MONITORING
        for size in SIZES:
            yield from _rows(world, size)
            say(f"batches of {size} done")
        world.close()


def _rows(world: World, size: int) -> Iterator[Row]:
    shadow = Trial(world.live, world.live, n_classes=len(CLASSES), pool_frames=10**9, seed=1)
    charts_s = loop_s = shadow_s = 0.0
    watch = world.loop._watch
    update = watch.update

    def timed(seen: Seen) -> object:
        nonlocal charts_s
        began = time.thread_time()
        found = update(seen)
        charts_s += time.thread_time() - began
        return found

    watch.update = timed  # type: ignore[method-assign, assignment]
    for _ in range(N_BATCHES):
        whole = world._seen(NONE, pictures=True)
        for part in _cut(whole, size):
            began = time.thread_time()
            world.loop.see(part)
            seen_at = time.thread_time()
            shadow.take(part, asked=frozenset)
            loop_s += seen_at - began
            shadow_s += time.thread_time() - seen_at
        world.clock.advance(BATCH * 0.05)
        world.loop.tick()
    watch.update = update  # type: ignore[method-assign]
    charts, loop, shadowed = (1e6 * one / (N_BATCHES * BATCH) for one in (charts_s, loop_s, shadow_s))
    what = f"the running loop, batches of {size}"
    yield Row("T22", f"{what}: charts, gathering included", "<= 10 us a part", f"{charts:.1f} us", charts <= 10.0)
    share = (loop + shadowed) / VIT_B32_US
    measured = f"{loop:.0f} + {shadowed:.0f} us, {share:.2%} of ViT-B/32 on two cores"
    yield Row("cost", f"{what}: everything + a head in the shadow", "<= 2 %", measured, share <= 0.02)


def _cut(seen: Seen, size: int) -> Iterator[Seen]:
    for at in range(0, len(seen.predictions), size):
        rows = slice(at, at + size)
        yield replace(
            seen,
            predictions=seen.predictions[rows],
            image=seen.image[rows],
            probabilities=seen.probabilities[rows],
            labels=seen.labels[rows],
            novelty=None if seen.novelty is None else seen.novelty[rows],
            pixels=None if seen.pixels is None else seen.pixels[rows],
        )
