"""A child process that computes for minutes: started, asked, never waited for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.heads.bundles.atomic import write_atomic

LAST_WORDS = 2_000  # characters of a child's error that are told
NICELY = ("nice", "-n", "5")  # the line goes first


class Child:
    """At most one run of a module at a time; it is handed a job file and says one JSON object. One thread."""

    def __init__(self, module: str, *, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._module = module
        self._path = folder / f"{module.rsplit('.', 1)[-1]}.json"
        self._child: subprocess.Popen[str] | None = None

    @property
    def is_running(self) -> bool:
        """Started, and not yet polled to its end."""
        return self._child is not None

    def start(self, job: str) -> None:
        """Begin; a run that still goes on is stopped. Raises OSError."""
        self.stop()
        write_atomic(self._path, content=job.encode(), durable=False)
        self._child = subprocess.Popen(
            [*NICELY, sys.executable, "-m", self._module, str(self._path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # the line needs the other cores
        )

    def poll(self) -> dict[str, Any] | None:
        """What it said; None while it works, or where none was started. `error` in it says why there is nothing."""
        if self._child is None or self._child.poll() is None:
            return None
        out, _ = self._child.communicate()
        code, self._child = self._child.returncode, None
        try:
            said: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return {"error": f"{self._module} ended with {code} and without a word: {out[-LAST_WORDS:]}"}
        return said

    def wait(self, *, timeout_s: float) -> None:
        """Block until it has ended, for those who have nothing else to do."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)

    def stop(self) -> None:
        """End a run that still goes on."""
        child, self._child = self._child, None
        if child is not None:
            if child.poll() is None:
                child.kill()
            child.communicate()
