"""The gate's promises beside what was measured, on synthetic lines.

python -m tests.benchmarks.gate_table                 a minute
python -m tests.benchmarks.gate_table --size full     what GATE.md holds
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.label_screens import screen_batch
from pipeline.adaptation.gate.probation import Verdict
from tests.adaptation.gate.cases import (
    COSTS,
    PLAIN_COSTS,
    SCENARIOS,
    draw,
    make_camera,
    make_case,
    teach,
)
from tests.adaptation.gate.trials import (
    Flips,
    Trial,
    crossing,
    flips_of,
    gains_of,
    gate_batch,
    judge,
    probation,
    two_heads,
    worse_head,
)
from tests.adaptation.lifecycle.killing import kill_often

ALPHA = 0.05
COSTLIER = 1.02  # a head is called costlier from here on
ESCAPE_RISE = 0.002  # of all parts


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    cameras: int
    equal_runs: int
    probations: int
    kills: int


SIZES = {"ci": Size(cameras=1, equal_runs=400, probations=20, kills=20), "full": Size(6, 4000, 300, 200)}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    accept: str
    measured: str
    holds: bool | None  # None: told, not promised

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: "-"}[self.holds]
        return f"| {self.name} | {self.accept} | {self.measured} | {verdict} |"


def honest(size: Size) -> Iterator[Row]:
    """T12, and what honest challengers gain."""
    for margin in (False, True):
        runs = [
            (scenario, run) for scenario in SCENARIOS for run in trials(size, scenario, how="honest", margin=margin)
        ]
        kind = "64 honest labels, " + ("margin" if margin else "random")
        rose = [run for name, run in runs if name == "light" and run.accuracy_gate_promotes and escape_rose(run)]
        n_light = sum(name == "light" for name, _ in runs)
        if not margin:
            yield Row(
                f"T12 {kind}, light: accuracy gate promotes while escapes rise",
                "cost gate promotes none of them",
                f"{len(rose)} of {n_light} such; cost gate promotes {sum(run.promoted for run in rose)}",
                not any(run.promoted for run in rose),
            )
        for scenario in SCENARIOS:
            ran = [run for name, run in runs if name == scenario]
            yield Row(f"{kind}, {scenario}", "told", summary(ran), None)


def trials(size: Size, scenario: str, *, how: str, margin: bool) -> list[Trial]:
    cases = [make_case(seed, scenario=scenario) for seed in range(size.cameras)]
    return [judge(case, challenger=teach(case, how=how, margin=margin).head) for case in cases]


def escape_rose(run: Trial) -> bool:
    return run.challenger_escape > run.champion_escape + 0.001


def summary(runs: list[Trial]) -> str:
    labels = [run.report.labelled for run in runs if run.promoted]
    costs = np.array([(run.champion_cost, run.challenger_cost) for run in runs]).mean(axis=0)
    by_accuracy = sum(run.accuracy_gate_promotes for run in runs)
    return (
        f"cost {costs[0]:.3f} -> {costs[1]:.3f}; cost gate promotes {len(labels)} of {len(runs)}"
        + (f" (median {np.median(labels):.0f} labels)" if labels else "")
        + f", accuracy gate {by_accuracy}"
    )


def poisoned(size: Size) -> Iterator[Row]:
    """T13: the screens, then the gate without them."""
    plans = [("all ok", False), ("all ok", True), ("class swap", False), ("random", False), ("one labeller", False)]
    held = {"teaching": 0, "gate": 0}
    runs: list[Trial] = []
    no_bound: list[Trial] = []
    for scenario in SCENARIOS:
        for seed in range(size.cameras):
            case = make_case(seed, scenario=scenario)
            for how, margin in plans:
                taught = teach(case, how=how, margin=margin)
                held["teaching"] += screen_batch(taught.batch).quarantined
                held["gate"] += screen_batch(gate_batch(case, challenger=taught.head, how=how)).quarantined
                runs.append(judge(case, challenger=taught.head))
                no_bound.append(judge(case, challenger=taught.head, escapes=False))
    n = len(runs)
    for name, count in held.items():
        yield Row(f"T13 poisoned {name} batches held by the screens", "all", f"{count} of {n}", count == n)
    for name, ran in (("screens off", runs), ("screens and escape bound off", no_bound)):
        worse = [run for run in ran if run.promoted and run.challenger_cost > COSTLIER * run.champion_cost]
        more = sum(run.promoted and escapes_per_part(run) > ESCAPE_RISE for run in ran)
        accuracy = sum(r.accuracy_gate_promotes and r.challenger_cost > COSTLIER * r.champion_cost for r in ran)
        yield Row(
            f"T13 {name}: costlier heads promoted",
            f"0 of {n}",
            f"{len(worse)}; with escapes up by > 0.2 point {more}; promoted in all {sum(r.promoted for r in ran)}; "
            f"an accuracy gate lets {accuracy} costlier heads through",
            not worse and (not more or name != "screens off"),
        )


def escapes_per_part(run: Trial) -> float:
    return 0.4 * (run.challenger_escape - run.champion_escape)  # 40 % of the parts are defects


def false_holds(size: Size) -> Iterator[Row]:
    """Honest batches in quarantine: the price is a second label."""
    for margin in (False, True):
        teaching = gates = n = 0
        for scenario in SCENARIOS:
            for seed in range(size.cameras):
                case = make_case(seed, scenario=scenario)
                taught = teach(case, how="honest", margin=margin)
                teaching += screen_batch(taught.batch).quarantined
                gates += screen_batch(gate_batch(case, challenger=taught.head, how="honest")).quarantined
                n += 1
        kind = "margin" if margin else "random"
        yield Row(f"honest batches held, {kind}", "told", f"teaching {teaching} of {n}, gate {gates} of {n}", None)


def equal_heads(size: Size) -> Iterator[Row]:
    """T15. Equal: for every disagreement (or product run) a coin says which head is which."""
    for run_length in (1, 20):
        pools = [two_heads(seed, n=100_000, run_length=run_length) for seed in range(4)]
        for name, costs in (("cost 10:1", COSTS), ("all errors alike", PLAIN_COSTS)):
            for in_order in (False, True):
                rate = crossing_rate(pools, costs=costs, in_order=in_order, runs=size.equal_runs, run_length=run_length)
                limit = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / size.equal_runs)
                order = "in stream order" if in_order else "in random order"
                yield Row(
                    f"T15 equal heads, {name}, product runs of {run_length}, labels {order}, 300 looks",
                    "told: outside the promise" if in_order else f"<= {limit:.2%}",
                    f"{rate:.2%} of {size.equal_runs}",
                    None if in_order else rate <= limit,
                )


def coins(truth: np.ndarray, *, rng: np.random.Generator, run_length: int) -> np.ndarray:
    """One coin per label, or one per product run, where one head does well on all of a kind."""
    if run_length == 1:
        return rng.random(len(truth)) < 0.5
    product_run = np.cumsum(np.diff(truth, prepend=-1) != 0)
    return (rng.random(len(truth) + 1) < 0.5)[product_run]


def crossing_rate(pools: list[Flips], *, costs: CostMatrix, in_order: bool, runs: int, run_length: int) -> float:
    rng, crossed = np.random.default_rng(15), 0
    for number in range(runs):
        flips = pools[number % len(pools)]
        gains = gains_of(flips, costs=costs)
        if in_order:
            first = rng.integers(0, len(gains) - 300)
            rows = np.arange(first, first + 300)
            swap = coins(flips.truth[rows], rng=rng, run_length=run_length)
            coin = np.where(swap, 1.0, -1.0)
        else:
            rows, coin = rng.choice(len(gains), 300, replace=False), rng.choice([-1.0, 1.0], size=300)
        crossed += crossing(gains[rows] * coin, alpha=ALPHA) is not None
    return crossed / runs


def rollbacks(size: Size) -> Iterator[Row]:
    """T16."""
    for points in (3.0, 1.0):
        labels, parts = detection(size, points=points)
        p90 = float(np.quantile(labels, 0.9, method="higher"))
        yield Row(
            f"T16 head {points:g} points worse, all errors alike: labels until rollback",
            "90 % within 40" if points == 3.0 else "told",
            f"median {np.median(labels):.0f}, p90 {p90:.0f}; parts median {np.median(parts):.0f}",
            p90 <= 40 if points == 3.0 else None,
        )
    yield costly_rollback(size)
    for run_length, every in ((1, 1.0), (20, 1.0), (20, 0.2)):
        for name, costs in (("cost 10:1", COSTS), ("all errors alike", PLAIN_COSTS)):
            rate = false_rollbacks(size, run_length=run_length, every=every, costs=costs)
            limit = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / size.probations)
            promised = run_length == 1
            yield Row(
                f"T16 equal head, {name}, 5,000 parts, product runs of {run_length}, {every:.0%} of flips labelled",
                f"<= 5 % (+ 2 s.e.: {limit:.1%})" if promised else "told",
                f"{rate:.1%} of {size.probations} rolled back",
                rate <= limit if promised else None,
            )


def detection(size: Size, *, points: float) -> tuple[list[int], list[int]]:
    labels, parts = [], []
    pairs = [worse_head(seed, points=points) for seed in range(6)]
    for number in range(size.probations):
        good, bad, _ = pairs[number % 6]
        stream = draw(make_camera(number % 6), n=10_000, rng=np.random.default_rng([number, 16]))
        flips = flips_of(good, after=bad, parts=stream)
        report = probation(flips, costs=PLAIN_COSTS, n_parts=5000, gate_flip_rate=flips.rate)
        labels.append(report.labelled if report.verdict is Verdict.ROLL_BACK else 10**6)
        parts.append(report.frames)
    return labels, parts


def costly_rollback(size: Size) -> Row:
    """Heads poisoned with all-OK labels forced into probation, escapes ten times as dear."""
    labels, ratios = [], []
    for seed in range(size.cameras):
        for scenario in SCENARIOS:
            case = make_case(seed, scenario=scenario)
            bad = teach(case, how="all ok").head
            stream = draw(case.camera, n=10_000, rng=case.rng(16), scenario=scenario)
            flips = flips_of(case.champion, after=bad, parts=stream)
            report = probation(flips, costs=COSTS, n_parts=5000, gate_flip_rate=flips.rate)
            labels.append(report.labelled if report.verdict is Verdict.ROLL_BACK else 10**6)
            ratios.append(flips.rate)
    return Row(
        "T16 all-OK poisoned head, cost 10:1: labels until rollback",
        "told",
        f"median {np.median(labels):.0f}, worst {max(labels)}; {np.mean(ratios):.0%} of decisions change",
        None,
    )


def false_rollbacks(size: Size, *, run_length: int, every: float, costs: CostMatrix) -> float:
    rolled_back, rng = 0, np.random.default_rng([16, run_length])
    pools = [two_heads(seed, n=100_000, run_length=run_length) for seed in range(4)]
    for number in range(size.probations):
        flips = pools[number % len(pools)]
        first = int(rng.integers(0, flips.n_frames - 5000))
        rows = np.flatnonzero((flips.frame >= first) & (flips.frame < first + 5000))
        swap = coins(flips.truth[rows], rng=rng, run_length=run_length)
        labelled = rng.random(len(rows)) < every
        rows, swap = rows[labelled], swap[labelled]
        old, new = flips.before[rows], flips.after[rows]
        equal = Flips(
            flips.frame[rows] - first, flips.truth[rows], np.where(swap, new, old), np.where(swap, old, new), 5000
        )
        report = probation(equal, costs=costs, n_parts=5000, gate_flip_rate=1.0)
        rolled_back += report.verdict is Verdict.ROLL_BACK
    return rolled_back / size.probations


def kills(size: Size) -> Iterator[Row]:
    """T17."""
    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(Path(folder), times=size.kills)
    states = ", ".join(f"{state} {n}" for state, n in sorted(found.states.items()))
    yield Row(
        "T17 kill -9: journal whole, chain unbroken, each transition recorded once, pointer right",
        "0 faults",
        f"{len(found.faults)} faults in {found.n_kills} kills over {found.n_transitions} transitions ({states})",
        not found.faults,
    )


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="ci")
    size = SIZES[parser.parse_args().size]
    print("| What | Accept | Measured | Holds |\n|---|---|---|---|")
    for section in (honest, poisoned, false_holds, equal_heads, rollbacks, kills):
        started = time.monotonic()
        for row in section(size):
            print(row, flush=True)
        print(f"{section.__name__}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
