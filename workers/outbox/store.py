"""What waits on disk for a destination that is away: parcels in one SQLite file, oldest first."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

from pipeline.errors import SinkError

log = structlog.get_logger()

N_SET_ASIDE = 9  # corrupt files kept beside the outbox; a further one replaces the last of them
_APPLICATION_ID = 0x434C4F31  # "CLO1", in the file's header: nobody else's database is taken for an outbox
_PAGE_BYTES = 16_384  # several results to a page, so that little of it stays empty
_CHECKPOINT_PAGES = 256  # the log beside the file stays near 4 MiB
_SHRINK_BYTES = 4_194_304  # an empty file above it gives its space back
_ROW_BYTES = 32  # what SQLite adds to a row, about
_TABLE = """CREATE TABLE parcel (
    id INTEGER PRIMARY KEY, boxed_at REAL NOT NULL, n_bytes INTEGER NOT NULL,
    topic BLOB NOT NULL, key BLOB NOT NULL, headers BLOB NOT NULL, event_id BLOB NOT NULL, value BLOB NOT NULL)"""
_ADVICE = {
    sqlite3.SQLITE_FULL: "free space on that disk, or name another path",
    sqlite3.SQLITE_IOERR: "look at that disk, its quota and `ulimit -f`",
    sqlite3.SQLITE_CANTOPEN: "let this user write there, or name another path",
    sqlite3.SQLITE_READONLY: "let this user write there, or name another path",
    sqlite3.SQLITE_PERM: "let this user write there, or name another path",
    sqlite3.SQLITE_BUSY: "another process uses this outbox: stop it, or name another path",
}
_FAULTS = (sqlite3.DatabaseError, ValueError, OSError)  # ValueError: what was read is no parcel
_Row = tuple[float, int, bytes, bytes, bytes, bytes, bytes]  # boxed_at, n_bytes, then the parcel


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a destination sends: one result or dead letter, encoded once, the same bytes at every attempt."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    topic: str  # "" where the destination has none
    event_id: str  # makes a duplicate recognisable


@dataclass(frozen=True, slots=True)
class Boxed:
    """A parcel as it waits."""

    id: int
    n_bytes: int
    parcel: Parcel


class Waiting(NamedTuple):
    """How much waits."""

    n_rows: int
    n_bytes: int
    oldest_at: float | None  # seconds, of the clock that `append` is told


class OutboxStore:
    """A file held for one process and used by one thread; `waiting` may be read from any.

    Every change is one transaction that is on the disk when the call returns. Raises SinkError where it cannot be. A
    corrupt file is set aside as `<path>.corrupt-1` and so on and a new one begun; `on_corrupt` is told how many
    parcels went with it, None where they cannot be counted.
    """

    def __init__(self, path: Path, *, on_corrupt: Callable[[int | None], None]) -> None:
        self._path = path
        self._on_corrupt = on_corrupt
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._through = 0  # parcels up to this id are over, in the file or not
        self._next_id = 1  # never used again, so that `_through` stays true of an emptied file
        self._delete_fails = False
        self.untidy = False  # an empty file has something to give back
        self.waiting = Waiting(0, 0, None)
        try:
            self._open()
        except _FAULTS as error:
            if not _is_corruption(error):
                raise self._refusal("open", error) from error
            self._begin_anew(error, n_lost=None)
            with self._explained("open"):
                self._open()

    def append(self, parcels: Sequence[Parcel], *, at: float, max_bytes: int) -> int:
        """Add all; the oldest that no longer fit into `max_bytes` are shed, and counted in what is returned."""
        rows = [_to_row(parcel, at=at) for parcel in parcels]
        fitting = [row for row in rows if row[1] <= max_bytes]  # one that never fits takes no other with it
        kept = _newest(fitting, max_bytes=max_bytes)
        n_offered = sum(row[1] for row in fitting)
        with self._explained("write"), self._transaction() as connection:
            shed = self._oldest(lambda freed, _: self.waiting.n_bytes - freed + n_offered > max_bytes)
            connection.execute("DELETE FROM parcel WHERE id <= ?", (shed.through,))
            connection.executemany(
                "INSERT INTO parcel VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(self._next_id + i, *row) for i, row in enumerate(kept)],
            )
            oldest_at = self._oldest_at(after=shed.through)
        self._next_id += len(kept)
        self._through = shed.through
        n_rows, n_bytes, _ = self.waiting
        n_kept_bytes = sum(row[1] for row in kept)
        self.waiting = Waiting(n_rows - shed.n_rows + len(kept), n_bytes - shed.n_bytes + n_kept_bytes, oldest_at)
        return shed.n_rows + len(rows) - len(kept)

    def expire(self, *, before: float) -> int:
        """Shed what was boxed before that instant; how many."""
        if self.waiting.oldest_at is None or self.waiting.oldest_at >= before:
            return 0
        with self._explained("read"):
            shed = self._oldest(lambda _, boxed_at: boxed_at < before)
        self._forget(shed)
        return shed.n_rows

    def peek(self, *, n: int, max_bytes: int) -> list[Boxed]:
        """The oldest, at most `n` of at most `max_bytes` together, but one in any case."""
        found: list[Boxed] = []
        left = max_bytes
        with self._explained("read"):
            query = "SELECT id, n_bytes, topic, key, headers, event_id, value FROM parcel WHERE id > ? ORDER BY id"
            for number, n_bytes, *columns in self._live.execute(f"{query} LIMIT ?", (self._through, n)):
                left -= n_bytes
                if found and left < 0:
                    break
                found.append(Boxed(number, n_bytes, _to_parcel(*columns)))
        return found

    def discard(self, boxed: Sequence[Boxed]) -> None:
        """Forget these, the oldest, which the destination has; a disk too full even to delete is no fault here."""
        self._forget(_Front(boxed[-1].id, len(boxed), sum(one.n_bytes for one in boxed)))

    def tidy(self) -> None:
        """Give the disk back what an empty file holds. Blocks for the disk, milliseconds; no fault where it fails."""
        self.untidy = not self._delete()
        with self._explained("tidy"), contextlib.suppress(sqlite3.OperationalError):
            (n_pages,) = self._live.execute("PRAGMA page_count").fetchone()
            if n_pages * _PAGE_BYTES > _SHRINK_BYTES and not self.untidy:
                self._live.execute("VACUUM")
                self._live.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._closed = True
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # the last checkpoint; what it could not do the next opening does
                self._connection.close()
            self._connection = None

    @property
    def _live(self) -> sqlite3.Connection:
        if self._closed:
            raise SinkError(f"{self._path}: expected an open outbox, got a call after close")
        if self._connection is None:  # after a corrupt file
            self._open()
        assert self._connection is not None
        return self._connection

    def _forget(self, front: _Front) -> None:
        self._through = front.through
        n_rows, n_bytes, oldest_at = self.waiting
        self.waiting = Waiting(n_rows - front.n_rows, n_bytes - front.n_bytes, oldest_at)
        self.untidy = True
        self._delete()
        with self._explained("read"):
            self.waiting = self.waiting._replace(oldest_at=self._oldest_at(after=self._through))

    def _delete(self) -> bool:
        """Take what is over out of the file too, so that it does not come again after a restart."""
        with self._explained("delete"):
            try:
                with self._transaction() as connection:
                    connection.execute("DELETE FROM parcel WHERE id <= ?", (self._through,))
            except sqlite3.OperationalError as error:
                if not self._delete_fails:
                    log.warning("outbox cannot delete what is sent", path=str(self._path), cause=str(error))
                self._delete_fails = True
                return False
        self._delete_fails = False
        return True

    def _oldest_at(self, *, after: int) -> float | None:
        query = "SELECT boxed_at FROM parcel WHERE id > ? ORDER BY id LIMIT 1"
        row = self._live.execute(query, (after,)).fetchone()
        return None if row is None else float(row[0])

    def _oldest(self, wanted: Callable[[int, float], bool]) -> _Front:
        """From the oldest on while `wanted(bytes before it, its boxed_at)`."""
        through, n_rows, n_bytes = self._through, 0, 0
        query = "SELECT id, n_bytes, boxed_at FROM parcel WHERE id > ? ORDER BY id"
        for number, size, boxed_at in self._live.execute(query, (self._through,)):
            if not wanted(n_bytes, boxed_at):
                break
            through, n_rows, n_bytes = number, n_rows + 1, n_bytes + size
        return _Front(through, n_rows, n_bytes)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(self._path)
        query = "SELECT count(*), coalesce(sum(n_bytes), 0), coalesce(max(id), 0) FROM parcel"
        n_rows, n_bytes, last_id = connection.execute(query).fetchone()
        self._connection = connection
        self._through, self._next_id, self.untidy = 0, last_id + 1, not n_rows
        self.waiting = Waiting(n_rows, n_bytes, self._oldest_at(after=0))

    def _begin_anew(self, error: Exception, *, n_lost: int | None) -> Path:
        """Set the file aside, with its log, under a name that says so; the new one may fail to open for now."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        self.waiting = Waiting(0, 0, None)
        names = [Path(f"{self._path}.corrupt-{number}") for number in range(1, N_SET_ASIDE + 1)]
        aside = next((name for name in names if not name.exists()), names[-1])
        with self._explained("set aside a corrupt outbox"):
            for suffix in ("-wal", "-journal", ""):  # the new file must not find a log of the old one
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        log.error("outbox was corrupt", path=str(self._path), aside=str(aside), cause=str(error), n_lost=n_lost)
        self._on_corrupt(n_lost)
        return aside

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._live
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Faults as SinkError; a corrupt file is replaced first, so that the next attempt finds a sound one."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except _FAULTS as error:
            if self._connection is None or not _is_corruption(error):
                raise self._refusal(verb, error) from error
            aside = self._begin_anew(error, n_lost=self.waiting.n_rows)
            raise SinkError(f"{self._path}: expected a sound outbox, got {error}; it is kept as {aside}") from error

    def _refusal(self, verb: str, error: Exception) -> SinkError:
        if isinstance(error, OSError):
            advice = "name a path in a folder that this user may write to"
        else:
            advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "look at that disk")
        return SinkError(f"{self._path}: cannot {verb}: {error}; {advice}")


@dataclass(frozen=True, slots=True)
class _Front:
    """The oldest parcels, up to an id."""

    through: int
    n_rows: int
    n_bytes: int


def _connect(path: Path) -> sqlite3.Connection:
    """Open or create, hold against other processes, check every page. Raises what SQLite says, or ValueError."""
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a second process would send everything twice
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        if n_tables and application_id != _APPLICATION_ID:
            raise SinkError(f"{path}: expected an outbox, got another SQLite database; name another path")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = OFF")  # some builds overwrite with zeros: twice the writing
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("BEGIN IMMEDIATE")
        if not n_tables:
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute("COMMIT")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_corruption(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, ValueError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _newest(rows: list[_Row], *, max_bytes: int) -> list[_Row]:
    """The last ones that fit together."""
    n = 0
    for row in reversed(rows):
        max_bytes -= row[1]
        if max_bytes < 0:
            break
        n += 1
    return rows[len(rows) - n :]


def _to_row(parcel: Parcel, *, at: float) -> _Row:
    headers = orjson.dumps([(name, value.hex()) for name, value in parcel.headers])
    topic, event_id = parcel.topic.encode(), parcel.event_id.encode()
    n_bytes = _ROW_BYTES + sum(len(part) for part in (topic, parcel.key, headers, event_id, parcel.value))
    return at, n_bytes, topic, parcel.key, headers, event_id, parcel.value


def _to_parcel(topic: bytes, key: bytes, headers: bytes, event_id: bytes, value: bytes) -> Parcel:
    pairs = tuple((name, bytes.fromhex(text)) for name, text in orjson.loads(headers))
    return Parcel(key=key, value=value, headers=pairs, topic=topic.decode(), event_id=event_id.decode())
