"""The one SQLite file of a support store: schema, transactions, and errors in plain words."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.types import EncoderInfo

SCHEMA_VERSION = 1
APPLICATION_ID = 0x434C5350  # "CLSP": another program's database is refused, not written into
_ADVICE = "restore it from a copy or a snapshot, or name another path"

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE exemplars (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, label TEXT NOT NULL,
    source TEXT NOT NULL, roi TEXT NOT NULL, product TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('founder', 'herd', 'recent', 'hard')),
    part TEXT NOT NULL, embedding BLOB NOT NULL, levels BLOB, margin REAL, evidence TEXT,
    added_at REAL NOT NULL, removed_at REAL, removed_why TEXT);
CREATE UNIQUE INDEX live_exemplar ON exemplars (event_id) WHERE removed_at IS NULL;
CREATE INDEX exemplars_of_class ON exemplars (label, source, roi, product) WHERE removed_at IS NULL;
CREATE INDEX exemplars_of_event ON exemplars (event_id, label);
CREATE TRIGGER exemplars_are_never_deleted BEFORE DELETE ON exemplars
    BEGIN SELECT RAISE(ABORT, 'exemplars are never deleted, only removed with a tombstone'); END;
CREATE TRIGGER founders_are_immutable BEFORE UPDATE ON exemplars WHEN OLD.role = 'founder' OR NEW.role = 'founder'
    BEGIN SELECT RAISE(ABORT, 'founders are immutable'); END;
CREATE TRIGGER tombstones_stay BEFORE UPDATE ON exemplars WHEN OLD.removed_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'a removed exemplar stays as it is'); END;
CREATE TRIGGER exemplars_keep_their_content
    BEFORE UPDATE OF event_id, label, source, roi, product, part, embedding, levels, added_at ON exemplars
    BEGIN SELECT RAISE(ABORT, 'the content of an exemplar is never changed'); END;
CREATE TABLE labels (
    event_id TEXT NOT NULL, labeller TEXT NOT NULL, labelled_at REAL NOT NULL, label TEXT NOT NULL,
    stream TEXT NOT NULL, inclusion_probability REAL NOT NULL, blind INTEGER NOT NULL, model_label TEXT,
    taken_at REAL NOT NULL, PRIMARY KEY (event_id, labeller, labelled_at, label, stream)) WITHOUT ROWID;
CREATE TRIGGER labels_are_never_deleted BEFORE DELETE ON labels
    BEGIN SELECT RAISE(ABORT, 'labels are never deleted'); END;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    first_at REAL NOT NULL, last_at REAL NOT NULL, times INTEGER NOT NULL, released_at REAL,
    UNIQUE (content, outcome));
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, stream TEXT NOT NULL, mixed_into TEXT, truth TEXT,
    asked_at REAL NOT NULL, expires_at REAL NOT NULL, blind INTEGER NOT NULL, inclusion_probability REAL NOT NULL,
    model_label TEXT, evidence TEXT, embedding BLOB, n_labellers INTEGER NOT NULL, place INTEGER NOT NULL);
CREATE INDEX requests_by_event ON requests (event_id);
CREATE INDEX requests_by_time ON requests (asked_at);
CREATE TABLE answers (
    request_id INTEGER NOT NULL, labeller TEXT NOT NULL, label TEXT NOT NULL, answered_at REAL NOT NULL,
    PRIMARY KEY (request_id, labeller)) WITHOUT ROWID;
"""


class Database:
    """One connection, used by one thread; any number of processes may hold others (write-ahead log).

    A commit is on the disk when `writing` returns. Raises DataError where the file is damaged, foreign, of a newer
    version, or made for another encoder.
    """

    def __init__(self, path: Path, *, encoder: EncoderInfo, busy_timeout_s: float = 5.0) -> None:
        self.path = path
        self.encoder = encoder
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def execute(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement. Raises DataError."""
        with self._explained():
            return self._connection.execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement for many rows. Raises DataError."""
        with self._explained():
            self._connection.executemany(sql, rows)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; inside another `writing` it is part of that one."""
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Several statements see one state of the store."""
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            advice = {
                "database is locked": "another process is writing; stop it, or wait longer",
                "unable to open database file": "let this user write there, or name another path",
                "attempt to write a readonly database": "let this user write there, or name another path",
                "database or disk is full": "free space on that disk",
            }.get(str(error), "look at that disk")
            raise DataError(f"{self.path}: expected to use the support store, got: {error}; {advice}") from error
        except sqlite3.IntegrityError as error:
            raise DataError(f"{self.path}: expected a change that the store allows, got: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: expected a whole support store, got: {error}; {_ADVICE}") from error

    def _open(self) -> None:
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = FULL")  # a label is a person's work: on disk before it counts
        if self._version() == 0:
            self._create()
        version, application = self._version(), self.execute("PRAGMA application_id")[0][0]
        if application != APPLICATION_ID:
            raise DataError(f"{self.path}: expected a support store, got another program's database; {_ADVICE}")
        if version != SCHEMA_VERSION:
            raise DataError(f"{self.path}: expected schema version {SCHEMA_VERSION}, got {version}; update Clearline")
        found = str(self.execute("PRAGMA quick_check(1)")[0][0]).splitlines()[-1]
        if found != "ok":
            raise DataError(f"{self.path}: expected a whole support store, got: {found}; {_ADVICE}")
        self._check_encoder()

    def _version(self) -> int:
        return int(self.execute("PRAGMA user_version")[0][0])

    def _create(self) -> None:
        """Two processes may come here at once: the second finds the work done."""
        with self.writing():
            if self._version() != 0:
                return
            if self.execute("SELECT count(*) FROM sqlite_master")[0][0]:
                return  # somebody else's file: the application id tells
            for statement in _statements(_SCHEMA):
                self.execute(statement)
            self.execute_many("INSERT INTO meta VALUES (?, ?)", sorted(_identity(self.encoder).items()))
            self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_encoder(self) -> None:
        got = dict(self.execute("SELECT name, value FROM meta"))
        for name, expected in _identity(self.encoder).items():
            if got.get(name) != expected:
                raise DataError(
                    f"{self.path}: expected embeddings of encoder {self.encoder.name} ({name} {expected[:16]}), got "
                    f"{str(got.get(name))[:16]}; name another path, or encode the images again into a new store"
                )


def _identity(encoder: EncoderInfo) -> dict[str, str]:
    return {
        "encoder_sha256": encoder.sha256,
        "preprocessing_sha256": encoder.preprocessing_sha256,
        "embedding_dim": str(encoder.embedding_dim),
        "level_dims": json.dumps(encoder.level_dims),
    }


def _statements(script: str) -> Iterator[str]:
    """One at a time: `executescript` would commit between them."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
