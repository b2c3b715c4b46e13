"""A file of whole lines: appended, rotated by size, repaired after a crash, never left with half a batch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline.errors import SinkError
from pipeline.interfaces import Clock

Fsync = Literal["batch", "interval", "never"]

_CHUNK = 65_536  # bytes read at a time when looking for the last newline
_TORN_BEGINS = (b"{", b"\0")  # what a crash leaves: part of an object, or zeros after a power cut
_ADVICE = {
    errno.ENOSPC: "free space on that disk, or name another path",
    errno.EDQUOT: "the quota is used up: free space, or name another path",
    errno.EFBIG: "the process may not write larger files: raise `ulimit -f`, or lower rotate_mb",
    errno.EACCES: "let this user write there, or name another path",
    errno.EPERM: "let this user write there, or name another path",
    errno.EROFS: "that file system is read-only: name another path",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file: name another path",
    errno.EEXIST: "a part of the path is a file: name another path",
    errno.EWOULDBLOCK: "another process writes this file: stop it, or name another path",
}


class LineFile:
    """Append-only, for one thread. Opened by the constructor, which repairs a last line torn by a crash.

    Something that is not a regular file (/dev/stdout, a pipe) is written as it is: no rotation, no repair.
    """

    def __init__(
        self, path: Path, *, clock: Clock, rotate_bytes: int, keep: int, fsync: Fsync, fsync_interval_s: float
    ) -> None:
        self._path = path
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._fsync: Fsync = fsync
        self._fsync_interval_s = fsync_interval_s
        self._synced_at = clock.monotonic()
        self._unsynced = False
        self._cut_to: int | None = None  # the last good end, where cutting off a half-written batch has failed
        self._fd = -1
        self._closed = False
        with self._explained("open"):
            self._open()

    def append(self, lines: bytes) -> None:
        """Write whole lines, all or none of them. Raises SinkError."""
        if self._closed:
            raise SinkError(f"{self._path}: expected an open file, got lines after close")
        with self._explained("write"):
            if self._is_gone():
                self._close_fd()
            if self._fd < 0:
                self._open()
            self._cut()
            end = os.fstat(self._fd).st_size
            if self._regular and end and end + len(lines) > self._rotate_bytes:
                self._rotate()
                end = 0
            try:
                _write_all(self._fd, data=lines)
                self._unsynced = True
                self._sync_when_due()
            except OSError:
                self._cut_to = end
                with contextlib.suppress(OSError):
                    self._cut()
                raise

    def sync(self) -> None:
        """Force what was written to the disk, unless the policy is never."""
        if self._fd >= 0 and self._fsync != "never":
            with self._explained("sync"):
                self._sync()

    def close(self) -> None:
        """Sync and release; may be called twice."""
        self._closed = True
        try:
            self.sync()
        finally:
            self._close_fd()

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "look at that disk")
            raise SinkError(f"{self._path}: cannot {verb}: {error.strerror}; {advice}") from error

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
        try:
            self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
            if self._regular:
                _lock(fd)
                self._repair(fd)
                if self._fsync != "never":
                    _sync_folder(self._path.parent)  # so that the new name survives a power cut
        except (OSError, SinkError):
            os.close(fd)
            raise
        self._fd = fd
        self._cut_to = None

    def _repair(self, fd: int) -> None:
        """Move what follows the last newline to `<path>.torn`: the end of a batch that a crash cut off."""
        size = os.fstat(fd).st_size
        end = _after_last_newline(fd, size=size)
        if end == size:
            return
        if os.pread(fd, 1, end) not in _TORN_BEGINS:
            raise SinkError(f"{self._path}: expected JSON lines, got a file that ends otherwise; name another path")
        fragment = os.pread(fd, size - end, end)
        torn = os.open(f"{self._path}.torn", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _write_all(torn, data=fragment + b"\n")
            os.fsync(torn)
        finally:
            os.close(torn)
        os.ftruncate(fd, end)

    def _rotate(self) -> None:
        """results.jsonl becomes results.jsonl.1, the newest; the oldest beyond `keep` goes."""
        if self._fsync != "never":
            self._sync()
        numbered = [Path(f"{self._path}.{number}") for number in range(1, self._keep + 1)]
        for older, newer in zip(reversed(numbered[1:]), reversed(numbered[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        if numbered:
            self._path.replace(numbered[0])
        else:
            self._path.unlink()
        self._close_fd()
        self._open()

    def _is_gone(self) -> bool:
        """Somebody moved or deleted the file: lines written on would be lost with it."""
        if self._fd < 0 or not self._regular:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return there.st_ino != os.fstat(self._fd).st_ino

    def _cut(self) -> None:
        if self._cut_to is not None:
            if self._regular:
                os.ftruncate(self._fd, self._cut_to)
            self._cut_to = None

    def _sync_when_due(self) -> None:
        waited = self._clock.monotonic() - self._synced_at
        if self._fsync == "batch" or (self._fsync == "interval" and waited >= self._fsync_interval_s):
            self._sync()

    def _sync(self) -> None:
        if self._unsynced and self._regular:
            os.fsync(self._fd)
        self._unsynced = False
        self._synced_at = self._clock.monotonic()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise
        # a network file system without locks: two writers cannot be told apart there


def _write_all(fd: int, *, data: bytes) -> None:
    """One write; the rest, where the kernel took only a part, so that the reason (a full disk) is raised."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _after_last_newline(fd: int, *, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _CHUNK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
