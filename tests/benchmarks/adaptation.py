"""Adaptation on the simulated line with the shipped encoder: `python -m tests.benchmarks.adaptation PART`.

Parts: detect (what is found, how soon, as what), recover (labels with and without unlabelled rows), poison (wrong
labels), overhead (the line with and without the loop, taking turns in one process), swap (latency under swaps).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.adaptation.lifecycle.states import State
from pipeline.heads import registry
from pipeline.simulation.disturbances import Disturbance
from pipeline.types import Features, Prediction
from tests.adaptation.streams import NONE, Drift
from tests.workers.adaptation.world import BLUR, CLASSES, INFO, World
from workers.adaptation.tap import Seen
from workers.commands.drift_demo import play
from workers.commands.drift_demo_line import REFERENCE_PARTS, DemoLine, render

MIX = {"scratched_plate": 0.5, "dented_plate": 0.5}
DRIFTS: dict[str, tuple[Disturbance, ...]] = {
    "lighting 0.5": (Disturbance("lighting", strength=0.5, ramp_s=0.0),),
    "blur 0.5": (Disturbance("blur", strength=0.5, ramp_s=0.0),),
    "lens dirt 0.5": (Disturbance("dirt", strength=0.5, ramp_s=0.0),),
    "new class 5 %": (Disturbance("novel", strength=0.05, ramp_s=0.0),),
    "class mix 0.3": (Disturbance("class_mix", strength=0.3, ramp_s=0.0, mix=MIX),),
    "frozen picture": (),
    "none": (),
}
WITHIN = {  # parts, and causes that are right
    "lighting 0.5": (600, {"lighting_position", "blur"}),
    "blur 0.5": (600, {"blur"}),
    "lens dirt 0.5": (2_000, {"sensor_fault", "blur", "lighting_position"}),
    "new class 5 %": (5_000, {"new_class"}),
    "class mix 0.3": (12_800, {"class_mix"}),
    "frozen picture": (2_000, {"sensor_fault"}),
}
PICTURES = 400
HEALTHY, DRIFTING = 8_000, 4_000
WATCHED = 1_000
NAMING = 2_500  # parts after the limit of an alarm in which its cause may still come
LIMIT_S = 300.0


def quiet(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def wait(line: DemoLine, done: Callable[[], bool], *, limit_s: float = LIMIT_S) -> bool:
    give_up_at = time.monotonic() + limit_s
    while not done():
        line.line.wait(0.02)
        if line.line.finished or time.monotonic() > give_up_at:
            return False
    return True


def detect(names: Sequence[str]) -> dict[str, Any]:
    """Each drift on a line of its own, commissioned the same way; nobody answers questions."""
    healthy = render(HEALTHY, seed=0)  # as many pictures as parts: a reference of few pictures fits no others
    found = {}
    for name in names:
        shown = render(DRIFTING, seed=100_000, disturbances=DRIFTS[name])
        with TemporaryDirectory() as folder:
            found[name] = _detected(name, DemoLine(Path(folder), first=healthy, labels=64, pool=True, say=quiet), shown)
        print(f"{name:16} {found[name]}", flush=True)
    return found


def _detected(name: str, line: DemoLine, shown: Any) -> dict[str, Any]:
    most, right = WITHIN.get(name, (6_000, {""}))
    line.source.in_order = True
    line.line.start()
    try:
        wait(line, lambda: line.n_parts >= REFERENCE_PARTS)
        line.make_reference()
        wait(line, lambda: line.state is not State.COMMISSIONING)
        watched = line.n_parts
        wait(line, lambda: line.n_parts >= watched + WATCHED)
        early = [told for _, kind, told in line.heard if kind == "drift"]
        line.source.shown, line.source.frozen = shown, name == "frozen picture"
        began = line.n_parts
        wait(line, lambda: line.n_parts >= began + most + NAMING or any(kind == "drift" for _, kind, _ in line.heard))
    finally:
        line.source.ended = True
        line.stop()
    alarms = [n for n, kind, told in line.heard if kind == "heads" and told["after"] in ("diagnose", "blocked")]
    named = [(n, told["cause"]) for n, kind, told in line.heard if kind == "drift"]
    after = alarms[0] - began if alarms else None
    cause = named[0][1] if named else None
    return {
        "alarm_after_parts": after,
        "limit_parts": most,
        "in_time": after is not None and 0 <= after <= most,
        "cause": cause,
        "cause_is_right": cause in right,
        "false_alarms_before": len(early),
        "ratios_at_the_end": [round(one, 2) for one in line.loop.ratios],
        "accuracy": round(float(np.mean(line.tallying.right[began:])), 3),
    }


def recover(numbers: Sequence[int]) -> dict[str, Any]:
    """Blur; so many labels to teach, with and without unlabelled rows."""
    found = {}
    for labels in numbers:
        for pool in (True, False):
            with TemporaryDirectory() as folder:
                outcome, _ = play(Path(folder), seconds=600.0, labels=labels, pool=pool, blur=0.5, say=quiet)
            key = f"{labels} labels, {'with' if pool else 'no'} pool"
            found[key] = {name: value for name, value in asdict(outcome).items() if name != "timeline"}
            print(key, found[key], flush=True)
    return found


def all_good(_who: str, _truth: str) -> str:
    return CLASSES[0]


def at_random(who: str, truth: str) -> str:
    return CLASSES[hash((who, truth, len(truth))) % len(CLASSES)]


def swapped(_who: str, truth: str) -> str:
    return {CLASSES[0]: CLASSES[1], CLASSES[1]: CLASSES[0]}.get(truth, truth)


def one_in_five(who: str, truth: str) -> str:
    return CLASSES[0] if who == "ann" and truth in CLASSES[1:4] else truth


POISONS = {"all good": all_good, "random": at_random, "two classes swapped": swapped, "one bad labeller": one_in_five}


def poison(seeds: Sequence[int]) -> dict[str, Any]:
    """Wrong labels to learn from, right ones before the gate; true cost of what is live before and after."""
    found: dict[str, Any] = {}
    for name, says in POISONS.items():
        for honeypots in (True, False):  # with them off, the other screens and the gate stand alone
            key = f"{name}, {'with' if honeypots else 'no'} honeypots"
            found[key] = [_poisoned(seed, says, honeypots=honeypots) for seed in seeds]
            print(key, found[key], flush=True)
    return found


def _poisoned(seed: int, says: Any, *, honeypots: bool) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), seed=seed, honeypots=honeypots)
        world.commission()
        world.says = says
        world.feed(20_000, drift=BLUR, until=(State.GATING, State.HOLD, State.COOLDOWN))
        world.says = lambda _who, truth: truth
        world.feed(30_000, drift=BLUR, until=(State.PROBATION, State.HOLD, State.COOLDOWN))
        outcome = {
            "state": world.state.value,
            "live": world.live_version,
            "cost_before": true_cost(world, 1, drift=BLUR),
            "cost_live": true_cost(world, world.live_version, drift=BLUR),
            "reason": world.loop.state.reason[:120],
        }
        world.close()
    return outcome


def true_cost(world: World, version: int, *, drift: Drift = NONE) -> float:
    """Escape 10, overkill 1, mix-up 1, per part."""
    x, _, y = world.camera.branch(7).parts(4_000, drift=drift)
    head = registry.load(world.heads, encoder=INFO, version=version).head
    said = head.score(Features(image=x.astype(np.float32))).logits.argmax(axis=1)
    good = np.array([name in world.good for name in CLASSES])
    escape, overkill = good[said] & ~good[y], ~good[said] & good[y]
    mixed = (said != y) & ~escape & ~overkill
    return round(float(10 * escape.mean() + overkill.mean() + mixed.mean()), 4)


class Spent:
    """Processor time of the loop's thread beside that of the whole process: what other users of the machine take
    does not count."""

    def __init__(self, line: DemoLine) -> None:
        self._line, self._loop_s, self._n_fed = line, 0.0, 0
        see, tick = line.loop.see, line.loop.tick

        def timed_see(seen: Seen) -> None:
            began = time.thread_time()
            see(seen)
            self._loop_s += time.thread_time() - began
            self._n_fed += len(seen.predictions)

        def timed_tick() -> None:
            began = time.thread_time()
            tick()
            self._loop_s += time.thread_time() - began

        line.loop.see, line.loop.tick = timed_see, timed_tick  # type: ignore[method-assign]

    def begin(self) -> None:
        self._loop_s, self._n_fed = 0.0, 0
        self._process_s, self._n_parts = time.process_time(), self._line.n_parts

    def told(self) -> dict[str, float]:
        loop_us = 1e6 * self._loop_s / max(1, self._n_fed)
        line_us = 1e6 * (time.process_time() - self._process_s - self._loop_s) / (self._line.n_parts - self._n_parts)
        return {
            "loop_cpu_us_per_part": round(loop_us, 1),
            "line_cpu_us_per_part": round(line_us, 1),
            "loop_share_of_cpu": round(loop_us / line_us, 4),
        }


def overhead(seconds: float) -> dict[str, Any]:
    """Parts per second of one line, the loop fed and not fed in turns of three seconds."""
    with TemporaryDirectory() as folder:
        line = DemoLine(Path(folder), first=render(PICTURES, seed=0), labels=64, pool=True, say=quiet, hurried=False)
        rates: dict[bool, list[float]] = {True: [], False: []}
        spent = Spent(line)
        line.line.start()
        try:
            wait(line, lambda: line.n_parts >= REFERENCE_PARTS)
            line.make_reference()
            wait(line, lambda: line.state is State.MONITORING)
            until = time.monotonic() + seconds
            spent.begin()
            while time.monotonic() < until:
                line.feeding = not line.feeding
                line.line.wait(0.5)
                n, at = line.n_parts, time.monotonic()
                line.line.wait(3.0)
                rates[line.feeding].append((line.n_parts - n) / (time.monotonic() - at))
        finally:
            line.source.ended = True
            line.stop()
    ratios = [a / b for a, b in zip(rates[True], rates[False], strict=False)]
    return {
        "with": round(float(np.median(rates[True])), 1),
        "without": round(float(np.median(rates[False])), 1),
        "with_over_without": [round(float(q), 3) for q in np.quantile(ratios, (0.25, 0.5, 0.75))],
        "turns": len(ratios),
        "left_out": line.loop.n_left_out,
        **spent.told(),
    }


def swap(seconds: float) -> dict[str, Any]:
    """Latency of a part, heads swapped every second and not, in turns."""
    with TemporaryDirectory() as folder:
        line = DemoLine(Path(folder), first=render(PICTURES, seed=0), labels=64, pool=True, say=quiet, adapt=False)
        taken: dict[bool, list[float]] = {True: [], False: []}
        swapping = False
        deliver = line.tallying.deliver

        def timed(predictions: Sequence[Prediction]) -> None:
            taken[swapping].extend(one.decided_at - one.ref.received_at for one in predictions)
            deliver(predictions)

        line.tallying.deliver = timed  # type: ignore[method-assign]
        line.line.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            swapping = not swapping
            for _ in range(4):
                if swapping:
                    live = line.line.live
                    line.line.swap(type(live)(live.head, live.decider.with_policy(live.decider.policy)))
                line.line.wait(1.0)
        line.source.ended = True
        line.line.stop(timeout_s=30.0)
        counts = line.line.ledger.total()
    p99 = {on: float(np.quantile(times, 0.99)) for on, times in taken.items()}
    return {
        "p99_ms_swapping": round(1e3 * p99[True], 2),
        "p99_ms_quiet": round(1e3 * p99[False], 2),
        "ratio": round(p99[True] / p99[False], 3),
        "parts": len(taken[True]) + len(taken[False]),
        "lost": counts.captured - counts.delivered,
    }


def main() -> None:
    """The last line on stdout is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("detect", "recover", "poison", "overhead", "swap"))
    parser.add_argument("--only", nargs="*", help="drifts to detect", default=list(DRIFTS))
    parser.add_argument("--labels", nargs="*", type=int, default=[32, 64])
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "detect": lambda: detect(given.only),
        "recover": lambda: recover(given.labels),
        "poison": lambda: poison(given.seeds),
        "overhead": lambda: overhead(given.seconds),
        "swap": lambda: swap(given.seconds),
    }
    print(json.dumps(parts[given.part]()))


if __name__ == "__main__":
    main()
