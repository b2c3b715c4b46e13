"""Bears lines that drift: for each line on stdin one process, which says its state after every batch it is fed.

Each is forked from here, so that five of them import once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.adaptation.lifecycle.states import State
from tests.workers.adaptation.world import BATCH, BLUR, World

MOST_BATCHES = 400


def drive(folder: Path) -> None:
    """One line of output per batch."""
    world = World(folder)
    for _ in range(MOST_BATCHES):
        world.feed(BATCH, drift=BLUR)
        world.keep_truth()  # what the simulated people know must outlive the process, as people do
        print(world.state.value, flush=True)
        if world.state is State.PROBATION:
            break


def main(folder: str) -> None:
    """Says the process id of each, and `dead` when it has ended."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                drive(Path(folder))
            finally:
                os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
