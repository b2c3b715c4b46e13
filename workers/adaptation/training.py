"""The child process that fits a challenger: started, asked, never waited for."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.types import Float32Array
from workers.adaptation.refit import Job, job_to_json

LAST_WORDS = 2_000  # characters of a child's error that are told


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fit: a version, or why there is none."""

    version: int | None
    error: str = ""


class Training:
    """At most one child at a time. One thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._child: subprocess.Popen[str] | None = None

    def start(self, job: Job) -> None:
        """Begin; a child that still runs is stopped, its head was never live."""
        self.stop()
        path = self._folder / "job.json"
        path.write_text(job_to_json(job), encoding="utf-8")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "workers.adaptation.refit", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def poll(self) -> Outcome | None:
        """None while it works, or where none was started."""
        if self._child is None or self._child.poll() is None:
            return None
        out, errors = self._child.communicate()
        self._child = None
        try:
            said = json.loads(out.strip().splitlines()[-1])
            return Outcome(said.get("version"), said.get("error", ""))
        except (ValueError, IndexError):
            return Outcome(None, f"the fit ended without a word: {errors[-LAST_WORDS:]}")

    def stop(self) -> None:
        """End a child that still runs."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.kill()
            child.communicate()

    def keep_pool(self, rows: Float32Array) -> str:
        """Unlabelled rows where the child finds them."""
        path = self._folder / "pool.npy"
        np.save(path, rows.astype(np.float16))
        return str(path)

    def keep_text(self, text: ZeroShotHead) -> str:
        """Class vectors where the child finds them."""
        path = self._folder / "text.npz"
        np.savez(path, prototypes=text.prototypes, scale=text.scale)
        return str(path)
