"""The audit log as the loop writes it: what a full disk refused is owed, in order, and written later."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.adaptation.lifecycle.audit_log import AuditLog
from pipeline.interfaces import Clock

MAX_OWED = 1_000  # records; a disk that stays full so long is somebody's to look at


class Chain:
    """One thread. Raises DataError where the chain is broken, OSError where the disk refuses; then nothing is lost."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._owed: deque[tuple[bool, dict[str, Any]]] = deque(maxlen=MAX_OWED)
        self._log: AuditLog | None = AuditLog(path, at=clock.utc())

    def append(self, *, at: float, actor: str, kind: str, payload: Mapping[str, Any]) -> None:
        """A record."""
        self._owed.append((False, {"at": at, "actor": actor, "kind": kind, "payload": payload}))
        self.settle()

    def append_once(self, *, at: float, actor: str, kind: str, payload: Mapping[str, Any]) -> None:
        """A record, unless it stands there already."""
        self._owed.append((True, {"at": at, "actor": actor, "kind": kind, "payload": payload}))
        self.settle()

    def settle(self) -> None:
        """Write what is owed. After a refusal the log is opened anew: it cuts off what was written in half."""
        while self._owed:
            once, record = self._owed[0]
            try:
                if self._log is None:
                    self._log = AuditLog(self._path, at=self._clock.utc())
                (self._log.append_once if once else self._log.append)(**record)
            except OSError:
                self.close()
                raise
            self._owed.popleft()

    def close(self) -> None:
        """May be called twice."""
        log, self._log = self._log, None
        if log is not None:
            with contextlib.suppress(OSError):  # closing flushes, and the disk may still be full
                log.close()


def current_product(path: Path, *, configured: str) -> tuple[str, float]:
    """What the last recorded changeover put on the belt, and since when (UTC seconds; 0 without one)."""
    if not path.is_file():
        return configured, 0.0
    for line in reversed(path.read_bytes().splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            if record["kind"] == "changeover":
                return str(record["payload"]["product"]), float(record["at"])
    return configured, 0.0
