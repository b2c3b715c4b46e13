"""Prints the table of ADAPTATION.md: `python -m tests.benchmarks.adaptation [--size full] [PART ...]`.

Parts: detect, recover, poison, bad-head, kill, loop-cost, overhead, swap; all of them where none is named.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from tests.benchmarks.adaptation import costing, detecting, killing, loop_cost, poisoning, recovering
from tests.benchmarks.adaptation.encoded import encoded_setting
from tests.benchmarks.adaptation.rows import Row
from tests.workers.adaptation.world import Setting


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    labels: tuple[int, ...]
    poisons_each: int  # of four poisons, with and without parts of known class
    bad_heads_each: int  # of two
    kills: int
    overhead_s: float
    swap_s: float


SIZES = {
    "small": Size((64,), 1, 5, 20, 30.0, 40.0),
    "full": Size((16, 32, 64), 15, 50, 200, 120.0, 300.0),
}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Row by row, as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--kills", type=int, help="instead of what the size says")
    parser.add_argument("--poisons", type=int, help="runs of each kind, instead of what the size says")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    size = SIZES[given.size]
    setting: list[Setting] = []

    def encoded() -> Setting:
        if not setting:
            setting.append(encoded_setting(say))
        return setting[0]

    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "detect": lambda: detecting.rows(list(detecting.DRIFTS), say=say),
        "recover": lambda: recovering.rows(list(size.labels), say=say),
        "poison": lambda: poisoning.rows(encoded(), n_each=given.poisons or size.poisons_each, say=say),
        "bad-head": lambda: poisoning.bad_heads(encoded(), n_each=size.bad_heads_each, say=say),
        "kill": lambda: killing.rows(encoded(), times=given.kills or size.kills, say=say),
        "loop-cost": lambda: loop_cost.rows(say=say),
        "overhead": lambda: costing.overhead(size.overhead_s, say=say),
        "swap": lambda: costing.swap(size.swap_s, say=say),
    }
    unknown = set(given.parts) - set(parts)
    if unknown:
        parser.error(f"expected parts among {', '.join(parts)}, got {', '.join(sorted(unknown))}")
    print("| Part | What | Accept | Measured | |\n|---|---|---|---|---|", flush=True)
    for name in given.parts or parts:
        began = time.monotonic()
        for row in parts[name]():
            print(row, flush=True)
        say(f"{name}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
