"""A worker's name for its transactions: its next life has the same, and ends what this one leaves open."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import uuid
from pathlib import Path


def own_name(prefix: str, *, folder: Path) -> str:
    """Of this process alone, to its end: numbered by lock files in `folder`, which the kernel lets go of.

    The lowest free number, so that a worker that was killed has the same name when it is started again. Machines are
    told apart by their host names. Where the folder cannot be had, the name is one that never comes again.
    """
    stem = f"{prefix}-{socket.gethostname()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbered = (f"{stem}-{n}" for n in itertools.count())
        return next(name for name in numbered if _taken(folder / f"{name}.lock"))
    except OSError:
        return f"{stem}-{uuid.uuid4().hex}"


def _taken(lock: Path) -> bool:
    """Ours now, and never closed; False where another process has it."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    return True
