"""(e) kill -9 at random points of the whole loop; after each, what stands on disk is looked at."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import State
from pipeline.errors import ClearlineError
from pipeline.heads.bundles import registry
from tests.adaptation.streams import NONE
from tests.benchmarks.adaptation.encoded import ENCODED_BLUR
from tests.benchmarks.adaptation.rows import Row
from tests.workers.adaptation.world import BATCH, Setting, World

SOON_S, LATE_S = 0.1, 2.5  # between a start and its kill
GAP_S = 2.0  # of simulated time between lives: a hundred of them are not to be an hour
CHANGES = 25  # kills between blur and a healthy line
MOST_BATCHES = 5_000


def rows(setting: Setting, *, times: int, say: Callable[[str], None]) -> Iterator[Row]:
    """Forks this process, so that a start costs no import."""
    chance, faults, states = random.Random(17), list[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "world"
        world = World(path, setting=setting)
        world.commission()
        world.close()
        for kill in range(times):
            drift = ENCODED_BLUR if kill // CHANGES % 2 == 0 else NONE
            pid = os.fork()
            if pid == 0:
                _drive(path, setting, drift)
            time.sleep(chance.uniform(SOON_S, LATE_S))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if not os.WIFSIGNALED(status):
                faults.append(f"the line ended by itself with {os.WEXITSTATUS(status)}")
            state = _look(world, faults)
            states[state] += 1
            say(f"kill {kill + 1}: {state}, {len(faults)} faults")
        again = World(path, setting=setting)
        if again.loop.state.champion != again.live_version:
            faults.append(f"state says head {again.loop.state.champion}, the pointer {again.live_version}")
        again.close()
    found = ", ".join(f"{state} {n}" for state, n in sorted(states.items()))
    measured = f"{len(faults)} faults in {times} kills ({found})" + "".join(f"; {one}" for one in faults[:3])
    yield Row(
        "e",
        "kill -9: state readable, live head loads, chain unbroken, nothing on hold",
        "0 faults",
        measured,
        not faults,
    )


def _drive(path: Path, setting: Setting, drift: object) -> None:
    """In the child: a line with its loop until it is killed."""
    code = 1
    try:
        world = World(path, setting=setting, gap_s=GAP_S)
        for _ in range(MOST_BATCHES):
            world.feed(BATCH, drift=drift)  # type: ignore[arg-type]
            world.keep_truth()
        code = 0
    finally:
        os._exit(code)


def _look(world: World, faults: list[str]) -> str:
    try:
        if not verify(world.files.audit).ok:
            faults.append(f"chain: {verify(world.files.audit).reason}")
        registry.load(world.heads, encoder=world.setting.info)
        state = Journal(world.files.state).read()
    except (ClearlineError, OSError) as error:
        faults.append(str(error))
        return "unreadable"
    if state is None:
        faults.append("no state")
        return "none"
    if state.state is State.HOLD:
        faults.append(f"on hold: {state.hold_reason}")
    return state.state.value
