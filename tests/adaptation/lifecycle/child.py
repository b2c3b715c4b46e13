"""Forks processes that drive a journal and an audit log until they are killed; a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.adaptation.lifecycle.driving import drive


def main() -> None:
    """For each line on stdin: a forked process that drives on until somebody kills it; then how it died."""
    folder = Path(sys.argv[1])
    for seed, _ in enumerate(sys.stdin):
        pid = os.fork()
        if pid == 0:
            drive(folder, seed=seed, n_events=10**9)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"dead {os.WTERMSIG(status)}", flush=True)


if __name__ == "__main__":
    main()
