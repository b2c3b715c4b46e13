"""Forks processes that record frames, or label and add exemplars, until they are killed; run by test_kills."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import torch

from pipeline.adaptation.support.exemplars import Caps
from tests.adaptation.support.making_support import NOW, exemplar, open_store, teach
from tests.adaptation.support.test_recording import append, recorder, ref

BATCH = 16
CAPS = Caps(founders=2, herd=8, recent=6, hard=2)


def record_for_ever(folder: Path, *, start: int) -> None:
    """Batches of frames from `start`, over many small segments."""
    recording = recorder(folder, max_bytes=1 << 24)
    for number in count(start):
        append(recording, [ref(number * BATCH + i) for i in range(BATCH)])
        os.write(1, f"done {number}\n".encode())


def teach_for_ever(folder: Path, *, start: int) -> None:
    """Batches of labelled exemplars from `start`, beyond the caps."""
    with open_store(folder, caps=CAPS) as store:
        for number in count(start):
            with store.writing():
                teach(store, [exemplar(f"e{number:05d}-{i}", seed=number * 4 + i) for i in range(4)], at=NOW + number)
            os.write(1, f"done {number}\n".encode())


def main() -> None:
    """For each `work start` on stdin: a forked process that goes on until somebody kills it; then how it died."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        name, start = line.split()
        work = {"record": record_for_ever, "teach": teach_for_ever}[name]
        pid = os.fork()
        if pid == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            work(Path(sys.argv[1]), start=int(start))
        _, status = os.waitpid(pid, 0)
        os.write(1, f"dead {os.WTERMSIG(status)}\n".encode())


if __name__ == "__main__":
    main()
