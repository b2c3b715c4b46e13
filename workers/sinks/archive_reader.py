"""Pictures of an archive for people: by event, and pinned once somebody has labelled them."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from workers.sinks.archive_index import NAME, ArchiveIndex, Kept
from workers.sinks.archive_store import PictureStore

log = structlog.get_logger()

_OURS = re.compile(r"[0-9a-f]{40}\.(jpg|png)")  # nothing else is ever asked of the store, whatever the index says


class ArchiveReader:
    """Any thread may call, one at a time is let in; another process may write meanwhile. Raises nothing."""

    def __init__(self, store: PictureStore, *, index: Path) -> None:
        """`index` is the folder of the index."""
        self._store, self._index = store, index
        self._lock = threading.Lock()

    def read(self, event_id: str) -> bytes | None:
        """JPEG or PNG; None where it was never kept, is gone, or cannot be had now. Blocks for a distant store."""
        kept = self.event(event_id)
        if kept is None or not _OURS.fullmatch(kept.name):
            return None
        try:
            with self._lock:
                return self._store.read(kept.name)
        except OSError as error:
            log.warning("archive cannot be read", folder=self._store.shown, cause=error.strerror or str(error))
            return None

    def event(self, event_id: str) -> Kept | None:
        """What the line made of it; None where that was never kept."""
        return self._asked(lambda index: index.event(event_id))

    def pin(self, event_id: str) -> None:
        """It outlives the others."""

        def pinned(index: ArchiveIndex) -> None:
            index.pin(event_id)

        self._asked(pinned)

    def _asked(self, ask: Callable[[ArchiveIndex], Kept | None]) -> Kept | None:
        if not (self._index / NAME).exists():
            return None
        try:
            with ArchiveIndex(self._index) as index:
                return ask(index)
        except sqlite3.Error as error:
            log.warning("archive index cannot be asked", folder=str(self._index), cause=str(error))
            return None
