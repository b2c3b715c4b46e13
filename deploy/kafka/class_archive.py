"""Java's own record of Kafka's loaded classes: with it a broker starts in half the time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

STOPPED = 128 + signal.SIGTERM  # how Java ends when it is asked to


class ClassArchive:
    """Beside the jars. The first broker that is stopped in order writes it, which takes some seconds.

    Java ignores one that does not fit it or the jars.
    """

    def __init__(self, jars: Path) -> None:
        self._kept = jars.parent / f"{jars.name}.jsa"
        self._partial = jars.parent / f"partial-{os.getpid()}.jsa"

    def options(self, *, writes: bool = False) -> list[str]:
        """For the command line of a Java that reads it, or of the one that may write it."""
        if self._kept.exists():
            return [f"-XX:SharedArchiveFile={self._kept}"]
        return [f"-XX:ArchiveClassesAtExit={self._partial}"] if writes else []

    def keep(self, *, code: int | None) -> None:
        """What a Java that ended with this code has written, where it is whole."""
        if code == STOPPED and self._partial.exists():
            self._partial.replace(self._kept)
        self._partial.unlink(missing_ok=True)
