"""(f) Heads swapped under full load, and what drift and shadow cost beside the line; both in turns within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.adaptation.lifecycle.states import State
from pipeline.heads.bundles import registry
from pipeline.types import Prediction
from tests.benchmarks.adaptation.detecting import wait
from tests.benchmarks.adaptation.rows import Row
from workers.adaptation.tap import Seen
from workers.adaptation.trial import Trial
from workers.commands.drift_demo_line import REFERENCE_PARTS, DemoLine, render
from workers.commands.head import fit_folder
from workers.live_head import LiveHead
from workers.opening.line import open_head

PICTURES = 400
TURN_S, SETTLE_S = 3.0, 0.5
VIT_B32_US = 1e6 / 9.6  # of an encoder that `clearline bench --only throughput` measured on two cores


class Spent:
    """Processor time of the loop's thread: what other users of the machine take does not count."""

    def __init__(self, line: DemoLine, *, shadow: Trial) -> None:
        self._line = line
        self.loop_s = self.shadow_s = self.charts_s = 0.0
        self.n_fed = 0
        see, tick, update = line.loop.see, line.loop.tick, line.loop._watch.update

        def timed_see(seen: Seen) -> None:
            began = time.thread_time()
            see(seen)
            shadowed = time.thread_time()
            shadow.take(seen, asked=frozenset)
            self.loop_s += time.thread_time() - began
            self.shadow_s += time.thread_time() - shadowed
            self.n_fed += len(seen.predictions)

        def timed_tick() -> None:
            began = time.thread_time()
            tick()
            self.loop_s += time.thread_time() - began

        def timed_update(seen: Seen) -> object:
            began = time.thread_time()
            found = update(seen)
            self.charts_s += time.thread_time() - began
            return found

        line.loop.see, line.loop.tick = timed_see, timed_tick  # type: ignore[method-assign]
        line.loop._watch.update = timed_update  # type: ignore[method-assign, assignment]

    def begin(self) -> None:
        self.loop_s = self.shadow_s = self.charts_s = 0.0
        self.n_fed = 0
        self._process_s, self._n_parts = time.process_time(), self._line.n_parts

    def us(self, seconds: float) -> float:
        return 1e6 * seconds / max(1, self.n_fed)

    @property
    def line_us(self) -> float:
        return 1e6 * (time.process_time() - self._process_s - self.loop_s) / (self._line.n_parts - self._n_parts)


def overhead(seconds: float, *, say: Callable[[str], None]) -> Iterator[Row]:
    """Parts per second of one line, the loop with a head in its shadow fed and not fed in turns."""
    with TemporaryDirectory() as folder:
        line = DemoLine(Path(folder), first=render(PICTURES, seed=0), labels=64, pool=True, say=say, hurried=False)
        line.line.start()
        try:
            wait(line, lambda: line.n_parts >= REFERENCE_PARTS)
            line.make_reference()
            wait(line, lambda: line.state is State.MONITORING)
            live = line.line.live
            spent = Spent(line, shadow=Trial(live, live, n_classes=len(line.classes), pool_frames=10**9, seed=1))
            spent.begin()
            rates = _turns(line, seconds)
            line_us, n = spent.line_us, len(rates[True])
        finally:
            line.source.ended = True
            line.stop()
    yield from _cost_rows(spent, line_us=line_us, rates=rates, n=n, left_out=line.loop.n_left_out)


def _turns(line: DemoLine, seconds: float) -> dict[bool, list[float]]:
    rates: dict[bool, list[float]] = {True: [], False: []}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        line.feeding = not line.feeding
        line.line.wait(SETTLE_S)
        n, at = line.n_parts, time.monotonic()
        line.line.wait(TURN_S)
        rates[line.feeding].append((line.n_parts - n) / (time.monotonic() - at))
    return rates


def _cost_rows(spent: Spent, *, line_us: float, rates: dict[bool, list[float]], n: int, left_out: int) -> Iterator[Row]:
    loop_us, shadow_us, charts_us = (spent.us(one) for one in (spent.loop_s, spent.shadow_s, spent.charts_s))
    ratios = [a / b for a, b in zip(rates[True], rates[False], strict=False) if b > 0.0]
    quartiles = ", ".join(f"{q:.3f}" for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    told = f"{quartiles} over {n} turns ({np.median(rates[True]):.0f} against {np.median(rates[False]):.0f} parts/s)"
    yield Row(
        "cost",
        "throughput with drift and shadow over without, shipped encoder",
        ">= 0.98",
        told,
        float(np.median(ratios)) >= 0.98,
    )
    share = loop_us / line_us
    told = f"{loop_us:.0f} us a part (shadow {shadow_us:.0f}) beside {line_us:.0f}: {share:.1%}; {left_out} left out"
    yield Row("cost", "processor time of drift and shadow, shipped encoder", "<= 2 %", told, share <= 0.02)
    share = loop_us / VIT_B32_US
    yield Row(
        "cost", "the same beside ViT-B/32 on two cores (104,000 us a part)", "<= 2 %", f"{share:.2%}", share <= 0.02
    )
    yield Row(
        "T22",
        "charts in the running loop, gathering included",
        "<= 10 us a part",
        f"{charts_us:.1f} us a part",
        charts_us <= 10,
    )


class Swapping:
    """A line at full load whose head changes every second, or not; what it delivered and how long that took."""

    def __init__(self, line: DemoLine) -> None:
        self._line, self._heads = line, _two_heads(line)
        self.on = False
        self.taken: dict[bool, list[float]] = {True: [], False: []}
        self.turns: dict[bool, list[float]] = {True: [], False: []}  # p99 of each, s
        self.versions: list[tuple[int, float, float]] = []  # of a result, and its batch's start and end
        self.began: list[tuple[int, float]] = [(1, 0.0)]  # version, from when it may be met
        self._deliver = line.tallying.deliver
        line.tallying.deliver = self._delivered  # type: ignore[method-assign]

    def _delivered(self, predictions: Sequence[Prediction]) -> None:
        self.taken[self.on].extend(one.decided_at - one.ref.received_at for one in predictions)
        self.versions.extend((p.head_version, p.decided_at - p.timing.infer_s, p.decided_at) for p in predictions)
        self._deliver(predictions)

    def turn(self) -> None:
        """Four seconds with swaps, or without."""
        self.on = not self.on
        first = len(self.taken[self.on])
        for number in range(4):
            if self.on:
                head = self._heads[number % 2]
                self.began.append((head.decider.identity.version, time.monotonic()))
                self._line.line.swap(head)
                self.began.append((head.decider.identity.version, time.monotonic()))
            self._line.line.wait(1.0)
        if len(self.taken[self.on]) > first:
            self.turns[self.on].append(float(np.quantile(self.taken[self.on][first:], 0.99)))


def swap(seconds: float, *, say: Callable[[str], None]) -> Iterator[Row]:
    """Latency of a part, heads swapped every second and not, in turns of four seconds."""
    with TemporaryDirectory() as folder:
        line = DemoLine(Path(folder), first=render(PICTURES, seed=0), labels=64, pool=True, say=say, adapt=False)
        seen = Swapping(line)
        line.line.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            seen.turn()
        line.source.ended = True
        line.line.stop(timeout_s=60.0)
        counts = line.line.ledger.total()
    lost = counts.captured - counts.delivered
    what = f"heads swapped every second for {seconds:.0f} s at full load: parts without a result"
    yield Row("f", what, "0", f"{lost} of {counts.captured:,}", lost == 0)
    wrong = _not_live(seen.versions, seen.began)
    told = f"{wrong} of {len(seen.versions):,}; {len(seen.began) // 2} swaps"
    yield Row("f", "results that name a version that was not live", "0", told, wrong == 0)
    p99 = {on: 1e3 * float(np.quantile(times, 0.99)) for on, times in seen.taken.items()}
    ratio = float(np.median([a / b for a, b in zip(seen.turns[True], seen.turns[False], strict=False)]))
    told = f"{p99[True]:.1f} against {p99[False]:.1f} ms ({p99[True] / p99[False]:.3f}); paired turns {ratio:.3f}"
    yield Row("f", "latency p99 with swaps over without", "<= 1.10", told, p99[True] <= 1.10 * p99[False])


def _two_heads(line: DemoLine) -> list[LiveHead]:
    """The live head and a second version of it, as another bundle on disk."""
    folder = line.config.head.registry / line.config.head.name
    first = registry.load(folder, encoder=line.encoder.image.info)
    assert first.version == 1
    fit_folder(line.config.head.registry.parent / "labelled", config=line.config, encoder=line.encoder, shots=6)
    found = []
    for version in (2, 1):
        head = line.config.head.model_copy(update={"version": version})
        found.append(open_head(line.config.model_copy(update={"head": head}), encoder=line.encoder).live)
    return found


def _not_live(versions: list[tuple[int, float, float]], began: list[tuple[int, float]]) -> int:
    """Results whose version was live at no instant between the start of their batch and its decision."""
    spans = [(v, at, after) for (v, at), (_, after) in pairwise([*began, (0, float("inf"))])]
    starts = np.array([at for _, at, _ in spans])
    wrong = 0
    for version, since, until in versions:
        first, last = np.searchsorted(starts, since, side="right") - 1, np.searchsorted(starts, until, side="right")
        wrong += version not in {v for v, _, _ in spans[max(0, int(first)) : int(last)]}
    return wrong
