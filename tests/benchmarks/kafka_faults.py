"""The line between two topics while its broker and its workers are killed, and what came of every frame.

    python -m tests.benchmarks.kafka_faults --size full                              100,000 frames, some minutes
    python -m tests.benchmarks.kafka_faults --delivery exactly_once --frames 30000   fewer

The broker is real, the encoder is not: each image takes half a millisecond. One frame in a hundred is poison: cut
short, of the wrong content type, or larger than the line takes. What it printed where: KAFKA.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.kafka_faults import FaultRun, Outcome, Plan, own_broker

SIZES = {
    "ci": Plan(n_frames=4000, broker_kills=1, worker_kills=3, visits=1),
    "full": Plan(n_frames=100_000, broker_kills=3, worker_kills=20, visits=5),
}


def main() -> None:
    """One run, one table; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="ci")
    parser.add_argument("--delivery", choices=["at_least_once", "exactly_once"], default="at_least_once")
    parser.add_argument("--frames", type=int, help="instead of the size's own number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plan = replace(SIZES[options.size], delivery=options.delivery, seed=options.seed)
    plan = replace(plan, n_frames=options.frames or plan.n_frames)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with own_broker(home) as broker, FaultRun(broker, plan=plan, folder=home) as run:
            outcome = run.run()
    print(table(plan, outcome=outcome))
    broken = any(outcome.faults.values()) or (plan.delivery == "exactly_once" and outcome.n_duplicates)
    sys.exit(1 if broken else 0)


def table(plan: Plan, *, outcome: Outcome) -> str:
    """Markdown."""
    killed = outcome.exit_codes[-9]
    rows: list[tuple[str, object]] = [
        ("delivery", plan.delivery),
        ("frames, good / poison", f"{outcome.n_good} / {outcome.n_poison}"),
        ("broker killed and restarted", plan.broker_kills),
        ("worker killed", killed),
        ("second worker joined and left", outcome.exit_codes[0] - 1),
        ("good frames without a result", len(outcome.missing)),
        ("frames with two different results", len(outcome.contradicting)),
        ("results of no good frame", len(outcome.unexpected)),
        ("frames out of order within their camera", len(outcome.out_of_order)),
        ("duplicate results, with equal ids", outcome.n_duplicates),
        ("poison not in the dead letters", len(outcome.letters_missing)),
        ("dead letters with other bytes", len(outcome.letters_changed)),
        ("duplicate dead letters", outcome.n_letter_duplicates),
        ("seconds, all told", round(outcome.seconds)),
    ]
    return "\n".join(["| what | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    main()
