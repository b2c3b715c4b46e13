"""An archive's pictures on whatever fsspec reaches: S3, SFTP, FTP, ..."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from pipeline.errors import ConfigError
from pipeline.interfaces import Clock
from workers.backoff import Backoff
from workers.sinks.archive_store import PART, SUFFIXES, Found

log = structlog.get_logger()

RETRY_S = (0.5, 30.0)  # first and longest wait before a target that is away is tried again
# Stores of objects: one is there whole or not at all, and moving it would cost a copy.
WHOLE = frozenset({"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"})
_CHANGED = ("mtime", "LastModified", "last_modified", "modify", "created")  # what file systems call it


class RemoteStore:
    """Connects at its first use, and anew after every failure.

    With a `clock` a write is tried until it succeeds or the clock is closed: for a thread that may wait so long.
    """

    def __init__(self, url: str, *, options: Callable[[], Mapping[str, Any]], clock: Clock | None = None) -> None:
        """`options` is asked at each connection for what the file system takes; never shown. `url` has no secret."""
        self._url, self._options, self._clock = url, options, clock
        self._backoff = Backoff(initial_s=RETRY_S[0], cap_s=RETRY_S[1])
        self._connected: tuple[Any, str] | None = None
        self._folders: set[str] = set()  # made on this connection
        self._away = False

    @property
    def shown(self) -> str:
        """The address."""
        return self._url

    def prepare(self) -> None:
        """Make the folder; for a store of objects there is nothing to make."""
        with self._reached() as (fs, root):
            fs.makedirs(root, exist_ok=True)

    def write(self, name: str, *, content: bytes) -> None:
        """Raises OSError; with a clock only once that is closed."""
        while True:
            try:
                self._write(name, content=content)
            except OSError as error:
                if self._clock is None:
                    raise
                if not self._away:
                    log.warning("archive target is away, pictures wait", target=self._url, cause=str(error))
                self._away = True
                if self._clock.wait(self._backoff.next_delay()):
                    raise
            else:
                if self._away:
                    log.info("archive target is back", target=self._url)
                self._away = False
                self._backoff.reset()
                return

    def read(self, name: str) -> bytes | None:
        """The picture; asked for twice, since a connection that lay idle may have ended."""
        try:
            return self._read(name)
        except OSError:
            return self._read(name)

    def _read(self, name: str) -> bytes | None:
        with self._reached() as (fs, root):
            fs.invalidate_cache()
            try:
                content: bytes = fs.cat_file(_path(root, name=name))
            except FileNotFoundError:
                return None
            return content

    def remove(self, name: str) -> None:
        """One picture."""
        with self._reached() as (fs, root), contextlib.suppress(FileNotFoundError):
            fs.rm_file(_path(root, name=name))

    def pictures(self) -> Found:
        """By listing everything: minutes for a million."""
        there: Found = {}
        with self._reached() as (fs, root):
            fs.invalidate_cache()
            for path, facts in fs.find(root, detail=True).items():
                name = path.rsplit("/", 1)[-1]
                if name.endswith(PART):
                    fs.rm_file(path)
                elif name.endswith(SUFFIXES):
                    there[name] = (int(facts.get("size") or 0), _changed_at(facts))
        return there

    def free_bytes(self) -> float:
        """There is no telling."""
        return float("inf")

    def _write(self, name: str, *, content: bytes) -> None:
        with self._reached() as (fs, root):
            path = _path(root, name=name)
            folder = path.rsplit("/", 1)[0]
            if folder not in self._folders:
                fs.makedirs(folder, exist_ok=True)
                self._folders.add(folder)
            if self._protocol in WHOLE:
                fs.pipe_file(path, content)
                return
            fs.pipe_file(path + PART, content)
            fs.mv(path + PART, path)

    @property
    def _protocol(self) -> str:
        return self._url.partition("://")[0]

    @contextlib.contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """The file system and our folder on it. Whatever its library raises becomes an OSError; the connection goes."""
        try:
            if self._connected is None:
                self._connected = self._connect()
            yield self._connected
        except Exception as error:
            self._connected = None
            self._folders.clear()
            if isinstance(error, OSError):
                raise
            raise OSError(f"{type(error).__name__}: {error}") from error  # every file system has errors of its own

    def _connect(self) -> tuple[Any, str]:
        import fsspec

        fs, root = fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **self._options())
        return fs, root.rstrip("/")


def demand_library(url: str) -> None:
    """Raises ConfigError where the library for this kind of address is not installed."""
    protocol = url.partition("://")[0]
    try:
        import fsspec

        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        advice = f"pip install 'clearline[fsspec]' and what {protocol} needs"
        raise ConfigError(f"archive {url}: {error}; {advice}") from error


def _path(root: str, *, name: str) -> str:
    return f"{root}/{name[:2]}/{name}"


def _changed_at(facts: Mapping[str, Any]) -> float:
    """UTC; infinity where the file system does not say, so that it counts as new."""
    said = next((facts[key] for key in _CHANGED if facts.get(key) is not None), None)
    if isinstance(said, datetime.datetime):
        return (said if said.tzinfo else said.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(said, str) and said.isdigit():  # FTP: 20260131081514
        return datetime.datetime.strptime(said[:14], "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC).timestamp()
    return float(said) if isinstance(said, int | float) else float("inf")
