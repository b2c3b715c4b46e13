"""Kills a driven machine at random points and looks at what is left; the test and the table share it."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import State
from tests.adaptation.lifecycle.driving import FIRST, start
from tests.conftest import ROOT

LINGER_S = 0.02  # a transition takes about as long
PATIENCE_S = 0.4


@dataclass
class Found:
    """What stood on disk after the kills."""

    n_kills: int = 0
    faults: list[str] = field(default_factory=list)
    states: Counter[State] = field(default_factory=Counter)
    n_transitions: int = 0
    n_repaired: int = 0


def kill_often(folder: Path, *, times: int, seed: int = 0) -> Found:
    """Start, kill -9 after a random time, look, start again."""
    found, chance = Found(), random.Random(seed)
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.adaptation.lifecycle.child", str(folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    aims = [state for state in State if state is not State.COMMISSIONING]
    chance.shuffle(aims)
    for kill in range(times):
        print("drive", file=nursery.stdin, flush=True)
        pid = int(nursery.stdout.readline())
        await_state(folder, wanted=aims[kill % len(aims)])
        select.select([], [], [], chance.uniform(0.0, LINGER_S))
        os.kill(pid, signal.SIGKILL)
        if nursery.stdout.readline().strip() != "dead 9":
            found.faults.append("the child died by itself")
        look(folder, found=found)
    nursery.communicate()
    return found


def await_state(folder: Path, *, wanted: State) -> None:
    """Until the journal says so, or patience ends: rare states shall be killed in too."""
    journal = Journal(folder / "journal.json")
    for _ in range(int(PATIENCE_S / 0.002)):
        state = journal.read()
        if state is not None and state.state is wanted:
            return
        select.select([], [], [], 0.002)


def look(folder: Path, *, found: Found) -> None:
    """The journal whole, the chain unbroken, every transition recorded once, the pointer where the state says."""
    found.n_kills += 1
    before = Journal(folder / "journal.json").read() or FIRST
    found.states[before.state] += 1
    state, _, log = start(folder)
    log.close()
    if before.state not in (state.state, State.TRAINING, State.GATING, State.PROBATION):
        found.faults.append(f"{before.state} came back as {state.state}")
    pointer = folder / "LIVE"
    if pointer.exists() and int(pointer.read_bytes()) != state.champion:
        found.faults.append(f"pointer {pointer.read_bytes()!r}, state {state.champion}")
    checked = verify(folder / "audit.jsonl")
    if not checked.ok:
        found.faults.append(checked.reason)
    records = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    steps = [one["payload"]["step"] for one in records if one["kind"] == "transition"]
    if steps != list(range(state.step + 1)):
        found.faults.append(f"transitions recorded up to {steps[-1:]}, state is at {state.step}")
    found.n_transitions = state.step
    found.n_repaired = sum(one["kind"] == "repaired" for one in records)
