"""Who may change the state and the audit log: the running line, or one command while none runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import DataError
from pipeline.interfaces import Clock
from workers.adaptation.files import AdaptationFiles

POLL_S = 0.05


class AdaptationLock:
    """Held from `__init__` to `close`; the kernel lets go when the process dies. Raises DataError where it is held.

    A line that starts hands in its clock and waits for a command that is just at it.
    """

    def __init__(self, files: AdaptationFiles, *, clock: Clock | None = None, wait_s: float = 0.0) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        give_up_at = 0.0 if clock is None else clock.monotonic() + wait_s
        while not self._taken():
            if clock is None or clock.monotonic() >= give_up_at or clock.wait(POLL_S):
                self.close()
                raise DataError(
                    f"{files.folder}: expected to be the only one that changes it, got a line or a command that does; "
                    "stop that one, or name another adaptation.folder"
                )

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@contextmanager
def held_unless_running(files: AdaptationFiles) -> Iterator[bool]:
    """True, and held, where no line with adaptation runs; False where one does, which then has to be asked."""
    try:
        lock = AdaptationLock(files)
    except DataError:
        yield False
        return
    try:
        yield True
    finally:
        lock.close()
