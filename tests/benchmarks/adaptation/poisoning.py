"""(c) Wrong labels to learn from, and (d) a bad head forced onto the line: the real loop over encoded parts."""

from __future__ import annotations

import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.heads.bundles import registry
from pipeline.types import Features
from tests.adaptation.streams import NONE, Drift
from tests.benchmarks.adaptation.encoded import ENCODED_BLUR
from tests.benchmarks.adaptation.rows import Row
from tests.workers.adaptation.world import Setting, World

ENDS = (State.PROBATION, State.HOLD, State.COOLDOWN)
COSTLIER = 1.02
MOST_PARTS = 40_000
MOST_LABELS = 40

Wrong = Callable[[Setting, str, str], str]  # setting, labeller, truth -> label


def all_good(setting: Setting, _who: str, _truth: str) -> str:
    return setting.good[0]


def at_random(setting: Setting, who: str, truth: str) -> str:
    return setting.classes[zlib.crc32(f"{who} {truth}".encode()) % len(setting.classes)]


def swapped(setting: Setting, _who: str, truth: str) -> str:
    bad = next(one for one in setting.classes if one not in setting.good)
    return {setting.good[0]: bad, bad: setting.good[0]}.get(truth, truth)


def one_labeller(setting: Setting, who: str, truth: str) -> str:
    return setting.good[0] if who == "ann" else truth


POISONS: dict[str, Wrong] = {
    "all good": all_good,
    "at random": at_random,
    "two classes swapped": swapped,
    "one labeller says good": one_labeller,
}


def rows(setting: Setting, *, n_each: int, say: Callable[[str], None]) -> Iterator[Row]:
    """With parts of known class among the questions, and without: then the other screens and the gate stand alone."""
    with TemporaryDirectory() as folder:
        for honeypots in (True, False):
            start = Path(folder) / f"start-{honeypots}"
            world = World(start, setting=setting, honeypots=honeypots)
            world.commission()
            world.close()
            for name, wrong in POISONS.items():
                runs = []
                for seed in range(n_each):
                    runs.append(_run(start, Path(folder) / "run", setting, wrong, seed=seed, honeypots=honeypots))
                    say(f"poison {name}, honeypots {honeypots}, {seed}: {runs[-1]}")
                yield _row(name, runs, honeypots=honeypots)


def _run(
    start: Path, folder: Path, setting: Setting, wrong: Wrong, *, seed: int, honeypots: bool
) -> tuple[str, float, float]:
    """State at the end, and what the old and the live head truly cost under the blur."""
    shutil.copytree(start, folder)
    world = World(folder, seed=100 + seed, setting=setting, honeypots=honeypots)
    world.says = lambda who, truth: wrong(setting, who, truth)
    world.feed(MOST_PARTS, drift=ENCODED_BLUR, until=(State.GATING, *ENDS))
    world.says = lambda _who, truth: truth  # before the gate people are right again
    world.feed(MOST_PARTS, drift=ENCODED_BLUR, until=ENDS)
    costs = true_cost(world, 1, drift=ENCODED_BLUR), true_cost(world, world.live_version, drift=ENCODED_BLUR)
    state = world.state.value
    world.close()
    shutil.rmtree(folder)
    return state, *costs


def _row(name: str, runs: list[tuple[str, float, float]], *, honeypots: bool) -> Row:
    ended = ", ".join(f"{state} {n}" for state, n in Counter(state for state, _, _ in runs).most_common())
    costlier = sum(live > COSTLIER * before for _, before, live in runs)
    promoted = sum(state == State.PROBATION.value for state, _, _ in runs)
    what = f"labels {name}, {'with' if honeypots else 'without'} parts of known class"
    measured = f"{costlier} of {len(runs)} costlier; promoted {promoted}; ended in {ended}"
    return Row("c", what, "0 costlier heads promoted", measured, not costlier)


def true_cost(world: World, version: int, *, drift: Drift = NONE) -> float:
    """Escape 10, overkill 1, mix-up 1, per part; on parts that nothing was learned from."""
    x, _, y = world.camera.branch(7).parts(4_000, drift=drift)
    head = registry.load(world.heads, encoder=world.setting.info, version=version).head
    said = head.score(Features(image=x.astype(np.float32))).logits.argmax(axis=1)
    good = np.array([name in world.good for name in world.setting.classes])
    escape, overkill = good[said] & ~good[y], ~good[said] & good[y]
    mixed = (said != y) & ~escape & ~overkill
    return round(float(10 * escape.mean() + overkill.mean() + mixed.mean()), 4)


def bad_heads(setting: Setting, *, n_each: int, say: Callable[[str], None]) -> Iterator[Row]:
    """(d) A head fitted on wrong labels is put on probation by force, with a journal that says so."""
    with TemporaryDirectory() as folder:
        for name in ("two classes swapped", "one labeller says good"):
            start = Path(folder) / name
            costs = _forced(start, setting, POISONS[name])
            labels = []
            for seed in range(n_each):
                labels.append(_labels_until_rolled_back(start, Path(folder) / "run", setting, seed=seed))
                say(f"bad head, {name}, {seed}: {labels[-1]} labels")
            p90 = sorted(labels)[int(np.ceil(0.9 * len(labels))) - 1]
            measured = (
                f"median {np.median(labels):.0f}, p90 {p90:.0f}, worst {max(labels):.0f} of {len(labels)} runs; "
                f"cost {costs[0]:.3f} -> {costs[1]:.3f} per part"
            )
            what = f"bad head ({name}) forced on: labels until it is taken back"
            yield Row("d", what, f"90 % within {MOST_LABELS}", measured, p90 <= MOST_LABELS)


def _forced(folder: Path, setting: Setting, wrong: Wrong) -> tuple[float, float]:
    """A commissioned world whose head 2 is bad, live and on probation; true costs of both."""
    world = World(folder, setting=setting)
    world.commission()
    x, labels = world.camera.shots(setting.shots, rng=np.random.default_rng(3))
    people = ("ann", "bob")
    said = [wrong(setting, people[n % 2], setting.classes[label]) for n, label in enumerate(labels)]
    world.fit(x, np.array([setting.classes.index(one) for one in said]))
    costs = true_cost(world, 1), true_cost(world, 2)
    now = world.clock.utc()
    world.close()
    Journal(world.files.state).write(
        RunState(
            world.loop.state.context,
            champion=2,
            entered_at=now,
            last_at=now,
            state=State.PROBATION,
            came_from=State.APPROVAL,
            step=world.loop.state.step + 1,
            run="demo-1",
            n_runs=1,
            candidate=2,
            previous=1,
            on_probation=True,
            promoted_at=(now,),
        )
    )
    return costs


def _labels_until_rolled_back(start: Path, folder: Path, setting: Setting, *, seed: int) -> float:
    shutil.copytree(start, folder)
    world = World(folder, seed=200 + seed, setting=setting)
    assert world.state is State.PROBATION, world.loop.state.reason
    world.feed(MOST_PARTS, until=(State.COOLDOWN, State.MONITORING, State.HOLD))
    judged, back = world.loop.acting.judged, world.live_version == 1
    world.close()
    shutil.rmtree(folder)
    return float(judged.labelled) if back and judged is not None else float("inf")
