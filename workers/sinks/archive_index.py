"""What lies in an archive of pictures: a SQLite file here, one row for each picture and one for each event."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

NAME = "index.sqlite"
BUSY_S = 2.0  # another process pins or reads
_TABLES = """
CREATE TABLE IF NOT EXISTS picture (
    name TEXT PRIMARY KEY, n_bytes INTEGER NOT NULL, kept_at REAL NOT NULL, pinned INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS picture_by_age ON picture (pinned, kept_at);
CREATE TABLE IF NOT EXISTS event (
    event_id TEXT PRIMARY KEY, name TEXT NOT NULL, source_id TEXT NOT NULL, roi_id TEXT NOT NULL, label TEXT NOT NULL,
    confidence REAL NOT NULL, decision TEXT NOT NULL, captured_at REAL NOT NULL, head TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_by_picture ON event (name);
CREATE INDEX IF NOT EXISTS event_by_time ON event (captured_at);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """One event whose picture is in the archive."""

    event_id: str
    name: str  # of the file, `<first two letters>/<name>` below the folder
    source_id: str
    roi_id: str
    label: str
    confidence: float
    decision: str
    captured_at: float  # UTC
    head: str  # name and version


class ArchiveIndex:
    """Opened by the line's archive, and by whoever reads or pins; one thread each. Raises sqlite3.Error."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection = sqlite3.connect(folder / NAME, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(
                "PRAGMA synchronous = NORMAL"
            )  # a power cut costs rows, which `repair` finds again
            self._connection.executescript(_TABLES)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def repair(self, there: Mapping[str, tuple[int, float]], *, now: float) -> None:
        """After a crash: pictures the index does not know are counted, rows whose picture is gone are dropped.

        `there` are the pictures by name: bytes, UTC of the last change.
        """
        with self.transaction():
            known = {row[0] for row in self._connection.execute("SELECT name FROM picture")}
            self._forget([name for name in known if name not in there])
            found = [(name, size, min(at, now)) for name, (size, at) in there.items() if name not in known]
            self._connection.executemany("INSERT INTO picture (name, n_bytes, kept_at) VALUES (?, ?, ?)", found)

    def n_bytes(self) -> int:
        """Of all pictures."""
        return int(self._connection.execute("SELECT coalesce(sum(n_bytes), 0) FROM picture").fetchone()[0])

    def add(self, kept: Kept, *, n_bytes: int, at: float) -> int:
        """An event, and its picture if it is new; the bytes that came with it."""
        query = "INSERT OR IGNORE INTO picture (name, n_bytes, kept_at) VALUES (?, ?, ?)"
        n_new = self._connection.execute(query, (kept.name, n_bytes, at)).rowcount
        self._connection.execute(
            "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                kept.event_id,
                kept.name,
                kept.source_id,
                kept.roi_id,
                kept.label,
                kept.confidence,
                kept.decision,
                kept.captured_at,
                kept.head,
            ),
        )
        return n_bytes * n_new

    def oldest(self, *, n: int, before: float | None = None) -> list[tuple[str, int]]:
        """(name, bytes) of the oldest that are not pinned; with `before`, only those kept before that instant."""
        query = "SELECT name, n_bytes FROM picture WHERE pinned = 0 AND kept_at < ? ORDER BY kept_at, name LIMIT ?"
        limit = float("inf") if before is None else before
        return [(str(name), int(size)) for name, size in self._connection.execute(query, (limit, n))]

    def forget(self, names: Sequence[str]) -> None:
        """Pictures and their events."""
        with self.transaction():
            self._forget(names)

    def pin(self, event_id: str, *, pinned: bool = True) -> bool:
        """A pinned picture outlives the others; False where the archive has none of that event."""
        query = "UPDATE picture SET pinned = ? WHERE name = (SELECT name FROM event WHERE event_id = ?)"
        return self._connection.execute(query, (int(pinned), event_id)).rowcount > 0

    def knows(self, name: str) -> bool:
        """Is there a picture of that name?"""
        return self._connection.execute("SELECT 1 FROM picture WHERE name = ?", (name,)).fetchone() is not None

    def event(self, event_id: str) -> Kept | None:
        """One event."""
        row = self._connection.execute("SELECT * FROM event WHERE event_id = ?", (event_id,)).fetchone()
        return None if row is None else Kept(*row)

    def newest(self, *, n: int, decision: str | None = None, source_id: str | None = None) -> list[Kept]:
        """The newest events first."""
        query = (
            "SELECT * FROM event WHERE (?1 IS NULL OR decision = ?1) AND (?2 IS NULL OR source_id = ?2) "
            "ORDER BY captured_at DESC, event_id DESC LIMIT ?3"
        )
        return [Kept(*row) for row in self._connection.execute(query, (decision, source_id, n))]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _forget(self, names: Sequence[str]) -> None:
        rows = [(name,) for name in names]
        self._connection.executemany("DELETE FROM event WHERE name = ?", rows)
        self._connection.executemany("DELETE FROM picture WHERE name = ?", rows)
