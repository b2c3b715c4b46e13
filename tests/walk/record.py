"""What a walk does and sees: commands typed in a folder of its own, with their times, written down as a page."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

LIMIT_S = 300.0  # of one command
STOP_S = 40.0
SHOWN_LINES = 12  # of what a command said
SHOWN_LETTERS = 200  # of a line


class WalkError(AssertionError):
    """A step did not do what the README says."""


@dataclass(frozen=True)
class Step:
    """One thing a person did."""

    title: str
    did: str  # the command, or what was done by hand
    seconds: float
    saw: str


@dataclass
class Record:
    """Types commands as a person in `folder` does; `clearline` is the one of this checkout."""

    folder: Path
    steps: list[Step] = field(default_factory=list)

    def note(self, title: str, *, did: str, saw: str, since: float) -> None:
        """Something that was not a command; `since` is its start, monotonic seconds."""
        self._add(Step(title, did, time.monotonic() - since, saw))

    def type(self, title: str, command: str) -> str:
        """Run it to its end; what it printed. Raises WalkError for an exit code that is not 0."""
        started_at = time.monotonic()
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise WalkError(f"{command}: expected exit code 0, got {done.returncode}: {done.stdout}{done.stderr}")
        self._add(Step(title, f"$ {command}", time.monotonic() - started_at, shown(done.stdout)))
        return done.stdout

    @contextmanager
    def typed(self, title: str, command: str, *, until: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run it in the foreground of another terminal until the block ends, then Ctrl-C; its exit code has to be 0.

        Its start is over when it prints `until`.
        """
        started_at, log = time.monotonic(), self.folder / f"terminal-{len(self.steps)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self._environment(), stdout=out, stderr=out
            )
        try:
            while until not in log.read_text(errors="replace"):
                if process.poll() is not None or time.monotonic() - started_at > LIMIT_S:
                    raise WalkError(f"{command}: expected to see {until!r}, got: {log.read_text(errors='replace')}")
                time.sleep(0.05)
            self._add(Step(title, f"$ {command}", time.monotonic() - started_at, shown(log.read_text())))
            yield process
            self._interrupt(process, command=command, log=log)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=STOP_S)

    def _interrupt(self, process: subprocess.Popen[bytes], *, command: str, log: Path) -> None:
        started_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=STOP_S)
        said = log.read_text(errors="replace")
        if code not in (0, 130):
            raise WalkError(f"{command}: expected exit code 0 after Ctrl-C, got {code}: {said}")
        self.note("Ctrl-C drains it", did="Ctrl-C", saw=f"exit code {code}\n{shown(said)}", since=started_at)

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        print(f"{step.seconds:7.1f} s  {step.title}", flush=True)


def shown(text: str) -> str:
    """The last lines of an output, as a page has room for."""
    lines = [line.rstrip()[:SHOWN_LETTERS] for line in text.splitlines() if line.strip()]
    return "\n".join(["..."] * (len(lines) > SHOWN_LINES) + lines[-SHOWN_LINES:])


def as_markdown(record: Record, *, head: str) -> str:
    """The page: a table of the times, then every step with what was seen."""
    rows = [f"| {n} | {one.title} | {one.seconds:.1f} |" for n, one in enumerate(record.steps, start=1)]
    total = sum(one.seconds for one in record.steps)
    table = ["| | step | seconds |", "| --- | --- | --- |", *rows, f"| | all | {total:.0f} |"]
    parts = [head.strip(), "\n".join(table)]
    for n, one in enumerate(record.steps, start=1):
        parts.append(f"## {n}. {one.title} ({one.seconds:.1f} s)\n\n```\n{one.did}\n```\n\n```\n{one.saw}\n```")
    return "\n\n".join(parts).replace(str(record.folder), "~/line").replace(str(ROOT), "~/clearline") + "\n"
