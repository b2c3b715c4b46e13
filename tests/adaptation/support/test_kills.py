"""kill -9 at random points: what was confirmed is there, what was not is there wholly or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.adaptation.support.kill_child import BATCH, CAPS
from tests.adaptation.support.making_support import NOW, exemplar, open_store
from tests.adaptation.support.test_recording import check_rows, reader, recorder
from tests.conftest import ROOT

N_KILLS = int(os.environ.get("CLEARLINE_KILLS", "12"))  # the nightly run takes more


RunUntilKilled = Callable[..., int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def run_until_killed(folder: Path) -> Iterator[RunUntilKilled]:
    """Starts the work at a number, kills it after so many batches, and gives the last one it confirmed."""
    command = [sys.executable, "-m", "tests.adaptation.support.kill_child", str(folder)]
    parent = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None

    def run(work: str, *, start: int, after: int) -> int:
        print(work, start, file=parent.stdin, flush=True)
        word, number = parent.stdout.readline().split()
        assert word == "pid"
        pid, confirmed = int(number), start - 1
        for _ in range(after):
            confirmed = int(parent.stdout.readline().split()[1])
        os.kill(pid, signal.SIGKILL)
        for line in parent.stdout:
            word, number = line.split()
            if word == "dead":
                assert int(number) == signal.SIGKILL
                return confirmed
            confirmed = int(number)
        raise AssertionError("the parent of the killed process ended")

    try:
        yield run
    finally:
        parent.stdin.close()
        parent.wait(timeout=60)
        parent.stdout.close()


def test_the_recording_survives_kills_with_every_confirmed_frame(
    folder: Path, run_until_killed: RunUntilKilled
) -> None:
    rng, n_batches = np.random.default_rng(0), 0
    for _ in range(N_KILLS):
        confirmed = run_until_killed("record", start=n_batches, after=int(rng.integers(0, 60)))
        recorder(folder, max_bytes=1 << 24).close()
        n_frames = len(reader(folder).frames())
        assert n_frames in ((confirmed + 1) * BATCH, (confirmed + 2) * BATCH)
        n_batches = n_frames // BATCH
    read = reader(folder)
    check_rows(read.frames(), sequences=list(range(n_batches * BATCH)))
    assert read.n_corrupt == 0


def test_the_store_survives_kills_with_every_confirmed_label_and_exemplar(
    folder: Path, run_until_killed: RunUntilKilled
) -> None:
    rng, n_batches = np.random.default_rng(1), 0
    with open_store(folder, caps=CAPS) as store:
        store.add_founders([exemplar(f"founder-{i}", seed=i) for i in range(2)], at=NOW)
    for _ in range(N_KILLS):
        confirmed = run_until_killed("teach", start=n_batches, after=int(rng.integers(0, 8)))
        with open_store(folder, caps=CAPS) as store:
            rows = [one for one in store.exemplars(living=False) if one.exemplar.event_id.startswith("e")]
            assert len(rows) == store.labels.count(), "an exemplar and its label are one transaction"
            assert len(rows) in ((confirmed + 1) * 4, (confirmed + 2) * 4)
            living = store.exemplars()
            assert sum(one.exemplar.event_id.startswith("founder") for one in living) == 2
            assert len(living) <= CAPS.total
            n_batches = len(rows) // 4
