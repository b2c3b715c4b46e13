"""A new normal: since when it is, and its references as soon as enough of it is recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from pipeline.heads.bundles.atomic import write_atomic
from workers.adaptation.rereference import ReferenceJob
from workers.adaptation.tap import Seen
from workers.adaptation.training import Child
from workers.adaptation.watch import Place, places_of

log = structlog.get_logger()


class References:
    """Gathers parts of the line as it is now, and has references fitted at each milestone. One thread.

    After a drift that a new head was fitted for, the healthy past is no longer normal: what counts is what was
    recorded since the alarm, scored again with the new head.
    """

    def __init__(
        self, path: Path, *, child: Child, job: Callable[[int, float], ReferenceJob], milestones: tuple[int, ...]
    ) -> None:
        """`milestones` are lengths at which a reference is worth fitting (again)."""
        self._path, self._child, self.job, self._milestones = path, child, job, sorted(set(milestones))
        self._since, self._version = normal_of(path)
        self._n_parts: Counter[Place] = Counter()
        self._n_fitted = 0
        self._at_once = self._version is not None  # much of it may be recorded already

    @property
    def gathering(self) -> int | None:
        """The head whose references are still to come, or too short."""
        return self._version

    def mark(self, *, at: float) -> None:
        """From now on the line is not what it was. Raises OSError."""
        self._since, self._version = at, None
        self._write()

    def gather(self, version: int) -> None:
        """Of this head, from the mark on. Raises OSError."""
        if self._version != version:
            self._version = version
            self._n_fitted, self._at_once = 0, True
            self._write()

    def count(self, seen: Seen) -> None:
        """Parts go by."""
        if self._version is not None:
            for place, rows in places_of(seen).items():
                self._n_parts[place] += rows.size

    def tick(self) -> bool:
        """True when references have been written: charts can go on."""
        said = self._child.poll()
        if said is not None:
            return self._done(said)
        if self._version is None or self._child.is_running:
            return False
        due = [n for n in self._milestones if n > self._n_fitted]
        if not due:
            self._version = None
            self._write()
        elif self._at_once or max(self._n_parts.values(), default=0) >= due[0] - self._n_fitted:
            self._at_once = False
            self._n_parts.clear()
            self._child.start(self.job(self._version, self._since).to_json())
        return False

    def _done(self, said: dict[str, object]) -> bool:
        made = said.get("made")
        if not isinstance(made, dict):
            log.warning("no new references", cause=said.get("error"))
            return False
        self._n_fitted = max([self._n_fitted, *made.values()])
        log.info("new references", parts=made)
        return bool(made)

    def wait(self, *, timeout_s: float) -> None:
        """Block until a fit has ended, for those who have nothing else to do."""
        self._child.wait(timeout_s=timeout_s)

    def stop(self) -> None:
        """End a fit that still goes on; it will be done again."""
        self._child.stop()

    def _write(self) -> None:
        write_atomic(self._path, content=json.dumps({"since": self._since, "version": self._version}).encode())


def normal_of(path: Path) -> tuple[float, int | None]:
    """Since when the line is what it is (UTC seconds), and the head whose references are still to come."""
    try:
        kept = json.loads(path.read_bytes())
        return float(kept["since"]), kept["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, None  # the first start: all that is recorded is normal
