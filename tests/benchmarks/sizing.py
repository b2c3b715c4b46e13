"""Consumer groups over partitions, simulated: how many workers and partitions cameras need, and what a failure does.

    python -m tests.benchmarks.sizing                                                 10, 1,000 and 100,000 cameras
    python -m tests.benchmarks.sizing --cameras 250 --fps 3 --frames-per-second 34    a plant of your own
    python -m tests.benchmarks.sizing --cameras 1000 --frames-per-second 68 --each 1 2 4 8

Partitions are shared as the cooperative sticky assignor shares them, and cameras hashed as Kafka's producers hash keys
(murmur2); both are checked against kafka-python's own in tests/deploy/test_sizing.py. `hashed` is what capture does;
`dealt` gives partition i mod P to camera i, for comparison. Rates are equal, or skewed: log-normal, sigma 0.8, the
busiest tenth giving about a third of all frames. Searched are the fewest workers whose busiest one stays below
`--utilisation` for each of several sets of camera names.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
CAMERAS = (10, 1_000, 100_000)
WORKER_FPS = (
    9.4,
    34.0,
    65.0,
)  # ViT-B/32: fp32 on one AVX2 thread, bf16 on two cores, limit of the reader: SIZING.md
EACH = (4,)  # partitions per worker
SKEW_SIGMA = 0.8
GROWTH = 1.03  # step of the search for the fewest workers, above a few dozen
SESSION_S = 45.0  # topic_reader.session_timeout_ms: until a dead worker's partitions are given away
NAME_SETS = 5  # sets of camera names for 1,000 cameras; fewer for more cameras, more for fewer


@dataclass(frozen=True, slots=True)
class Outcome:
    """Loads in frames per second; the worst over the sets of names."""

    n_cameras: int
    placement: str  # hashed | dealt
    rates: str  # equal | skewed
    worker_fps: float
    n_workers: int
    n_partitions: int
    mean_load: float
    max_load: float
    imbalance: float  # max / mean
    max_partition_load: float
    max_load_after_failure: float
    moved_partitions: int  # by the failure, to the other workers
    moved_by_eager: int  # what an assignor that starts afresh would have taken from their readers
    backlog_frames: int  # of the dead worker, when its partitions are read again
    catch_up_s: float  # until its heir has worked that off; infinite where it has no time to spare


@dataclass(slots=True)
class Group:
    """Who reads what; members are numbers."""

    owned: dict[int, list[int]]

    @classmethod
    def fresh(cls, *, n_partitions: int, n_workers: int) -> Group:
        """All members join at once: partitions dealt out in turn."""
        return cls({worker: list(range(worker, n_partitions, n_workers)) for worker in range(n_workers)})

    def fail(self, worker: int) -> list[int]:
        """Its partitions go one by one to whoever has fewest; all others keep theirs. Returns what moved."""
        orphans = self.owned.pop(worker)
        by_count = sorted(self.owned, key=lambda member: (len(self.owned[member]), member))
        for turn, partition in enumerate(orphans):
            self.owned[by_count[turn % len(by_count)]].append(partition)
        return orphans

    def join(self, worker: int) -> list[int]:
        """It takes from whoever has most until counts differ by one at most. Returns what moved."""
        share = sum(map(len, self.owned.values())) // (len(self.owned) + 1)
        moved = []
        while len(moved) < share:
            richest = max(self.owned, key=lambda member: (len(self.owned[member]), -member))
            moved.append(self.owned[richest].pop())
        self.owned[worker] = moved
        return moved


def camera_name(index: int, *, seed: int) -> str:
    """As a plant gives them: hall, line, camera. Always 24 letters."""
    return f"plant{seed:03d}-hall{index // 500:03d}-l{index // 20 % 25:02d}-c{index % 20:02d}"


def murmur2(keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(n,) the hash that Kafka's producers take of (n, w) little-endian words; here for all cameras at once."""
    factor = np.uint32(0x5BD1E995)
    n_bytes = 4 * keys.shape[1]
    state = np.full(len(keys), 0x9747B28C ^ n_bytes, np.uint32)
    for word in keys.T:
        mixed = word * factor
        mixed = (mixed ^ (mixed >> np.uint32(24))) * factor
        state = (state * factor) ^ mixed
    state = (state ^ (state >> np.uint32(13))) * factor
    state ^= state >> np.uint32(15)
    return (state & np.uint32(0x7FFFFFFF)).astype(np.int64)


@cache
def camera_places(n: int, *, placement: str, seed: int) -> NDArray[np.int64]:
    """A number for each camera, whose remainder is its partition."""
    if placement == "dealt":
        return np.arange(n)
    names = "".join(camera_name(index, seed=seed) for index in range(n)).encode()
    return murmur2(np.frombuffer(names, "<u4").reshape(n, -1))


def camera_rates(n: int, *, fps: float, kind: str, seed: int) -> list[float]:
    """Frames per second of each camera; their mean is `fps` whatever the kind."""
    if kind == "equal":
        return [fps] * n
    draw = random.Random(seed)
    raw = [draw.lognormvariate(0.0, SKEW_SIGMA) for _ in range(n)]
    scale = fps * n / sum(raw)
    return [rate * scale for rate in raw]


@dataclass(frozen=True, slots=True)
class Plant:
    """Cameras with their places and rates."""

    places: NDArray[np.int64]
    rates: list[float]  # frames/s

    def loads(self, n_partitions: int) -> FloatArray:
        """(n_partitions,) frames per second of each."""
        return np.bincount(self.places % n_partitions, weights=self.rates, minlength=n_partitions)


def worker_loads(group: Group, *, partitions: Sequence[float] | FloatArray) -> dict[int, float]:
    """Frames per second of each member."""
    return {worker: float(sum(partitions[one] for one in owned)) for worker, owned in group.owned.items()}


def after_failure(loads: Sequence[float] | FloatArray, *, n_workers: int, worker_fps: float) -> dict[str, float]:
    """The busiest worker dies: who is busiest then, what has piled up, and how long it takes to work it off."""
    group = Group.fresh(n_partitions=len(loads), n_workers=n_workers)
    before = worker_loads(group, partitions=loads)
    dead = max(before, key=lambda worker: before[worker])
    orphans = group.fail(dead)
    after = worker_loads(group, partitions=loads)
    heirs = {worker for worker, owned in group.owned.items() if set(orphans) & set(owned)}
    catch_up_s = 0.0
    for heir in heirs:
        backlog = SESSION_S * float(sum(loads[one] for one in set(orphans) & set(group.owned[heir])))
        spare = worker_fps - after[heir]
        catch_up_s = max(catch_up_s, backlog / spare if spare > 0 else math.inf)
    anew = Group.fresh(n_partitions=len(loads), n_workers=n_workers - 1)
    place = {one: turn for turn, owned in enumerate(anew.owned.values()) for one in owned}
    stays = sum(
        place[one] == worker for worker, owned in enumerate(before) for one in range(owned, len(loads), n_workers)
    )
    return {
        "max_load_after_failure": max(after.values()),
        "moved_partitions": len(orphans),
        "moved_by_eager": len(loads) - stays,
        "backlog_frames": round(SESSION_S * before[dead]),
        "catch_up_s": catch_up_s,
    }


def name_sets(n_cameras: int) -> int:
    """How many sets of camera names are tried."""
    return max(2, min(100, NAME_SETS * 1_000 // n_cameras))


def busiest(plants: Sequence[Plant], *, n_workers: int, each: int) -> float:
    """Load of the busiest worker of a new group over all plants."""
    # as Group.fresh deals them out, only quicker: partition p belongs to worker p mod n_workers
    return max(float(plant.loads(n_workers * each).reshape(each, n_workers).sum(axis=0).max()) for plant in plants)


def fewest(plants: Sequence[Plant], *, least: int, each: int, allowed: float) -> int | None:
    """Workers so that the busiest has no more than `allowed`; None where one per camera is too few.

    The first that will do: with hashed cameras it is luck whether one more helps.
    """
    most, n = len(plants[0].places), max(1, least)
    while n <= most:
        if busiest(plants, n_workers=n, each=each) <= allowed:
            return n
        n = max(n + 1, int(n * GROWTH))
    return None


def simulate(
    n_cameras: int, *, fps: float, placement: str, rates: str, worker_fps: float, each: int, utilisation: float
) -> Outcome | None:
    """The fewest workers that carry them, `each` partitions to a worker; None where one per camera would not do."""
    plants = [
        Plant(
            places=camera_places(n_cameras, placement=placement, seed=seed),
            rates=camera_rates(n_cameras, fps=fps, kind=rates, seed=seed),
        )
        for seed in range(name_sets(n_cameras))
    ]
    allowed = utilisation * worker_fps
    if max(max(plant.rates) for plant in plants) > allowed:
        return None
    n_workers = fewest(plants, least=math.ceil(n_cameras * fps / allowed), each=each, allowed=allowed)
    if n_workers is None:
        return None
    all_loads = [plant.loads(n_workers * each) for plant in plants]
    failures = [after_failure(one, n_workers=n_workers, worker_fps=worker_fps) for one in all_loads if n_workers > 1]
    worst = {key: max(one[key] for one in failures) for key in failures[0]} if failures else alone(all_loads[0])
    mean_load, max_load = n_cameras * fps / n_workers, busiest(plants, n_workers=n_workers, each=each)
    return Outcome(
        n_cameras=n_cameras,
        placement=placement,
        rates=rates,
        worker_fps=worker_fps,
        n_workers=n_workers,
        n_partitions=n_workers * each,
        mean_load=mean_load,
        max_load=max_load,
        imbalance=max_load / mean_load,
        max_partition_load=max(float(loads.max()) for loads in all_loads),
        **worst,  # type: ignore[arg-type]
    )


def alone(loads: FloatArray) -> dict[str, float]:
    """A single worker that dies leaves nobody: all waits until it is back."""
    return {
        "max_load_after_failure": math.nan,
        "moved_partitions": 0,
        "moved_by_eager": 0,
        "backlog_frames": round(SESSION_S * float(loads.sum())),
        "catch_up_s": math.inf,
    }


HEADER = (
    "| cameras | placed | rates | worker, frames/s | workers | partitions | load mean | max | max / mean | max after a "
    "failure | moved (afresh) | backlog, frames | caught up in |\n| ---: | --- | --- |" + " ---: |" * 10
)


def row(one: Outcome) -> str:
    """One line of the table, loads in frames per second."""
    after = "nobody left" if math.isnan(one.max_load_after_failure) else f"{one.max_load_after_failure:.1f}"
    caught_up = "never" if math.isinf(one.catch_up_s) else f"{one.catch_up_s:,.0f} s"
    cells = [f"{one.n_cameras:,}", one.placement, one.rates, f"{one.worker_fps:g}", f"{one.n_workers:,}"]
    cells += [f"{one.n_partitions:,}", f"{one.mean_load:.1f}", f"{one.max_load:.1f}", f"{one.imbalance:.2f}", after]
    cells += [f"{one.moved_partitions:g} ({one.moved_by_eager:,})", f"{one.backlog_frames:,}", caught_up]
    return "| " + " | ".join(cells) + " |"


def missing(n_cameras: int, *, placement: str, rates: str, worker_fps: float) -> str:
    """The line of what cannot be had."""
    cells = [f"{n_cameras:,}", placement, rates, f"{worker_fps:g}", "not with one per camera", *[""] * 8]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints a table for Markdown, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, nargs="+", default=list(CAMERAS))
    parser.add_argument("--fps", type=float, default=1.0, help="frames (times regions) per second of a camera, mean")
    parser.add_argument("--frames-per-second", type=float, nargs="+", default=list(WORKER_FPS), help="of one worker")
    parser.add_argument("--each", type=int, nargs="+", default=list(EACH), help="partitions per worker")
    parser.add_argument("--utilisation", type=float, default=0.7, help="of the busiest worker")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not args.json:
        print(f"{args.fps:g} frames/s a camera, busiest worker at most {args.utilisation:.0%}\n\n{HEADER}", flush=True)
    found = []
    for n_cameras, worker_fps, placement, rates, each in product(
        args.cameras, args.frames_per_second, ("hashed", "dealt"), ("equal", "skewed"), args.each
    ):
        what = {"placement": placement, "rates": rates, "worker_fps": worker_fps}
        one = simulate(n_cameras, fps=args.fps, each=each, utilisation=args.utilisation, **what)
        found += [asdict(one)] if one is not None else []
        if not args.json:
            print(missing(n_cameras, **what) if one is None else row(one), flush=True)
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
