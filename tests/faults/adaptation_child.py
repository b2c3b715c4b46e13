"""A line in embedding space with its loop, drifting; says its state after every batch until it is killed or done."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.adaptation.lifecycle.states import State
from tests.workers.adaptation.world import BATCH, BLUR, World

MOST_BATCHES = 400


def main(folder: str) -> None:
    """One line of output per batch."""
    world = World(Path(folder))
    for _ in range(MOST_BATCHES):
        world.feed(BATCH, drift=BLUR)
        world.keep_truth()  # what the simulated people know must outlive the process, as people do
        print(world.state.value, flush=True)
        if world.state is State.PROBATION:
            break


if __name__ == "__main__":
    main(sys.argv[1])
