"""Who may change the state and the audit log: the running line, or one command while none runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import DataError
from workers.adaptation_files import AdaptationFiles


class AdaptationLock:
    """Held from `__init__` to `close`; the kernel lets go when the process dies. Raises DataError where it is held."""

    def __init__(self, files: AdaptationFiles) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            self._fd = -1
            raise DataError(
                f"{files.folder}: expected to be the only one that changes it, got a line or a command that does; "
                "stop that one, or name another adaptation.folder"
            ) from error

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
