"""Pictures of parts that somebody may want to see again: rejects, doubts, and a random share of what was accepted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Decision, FrameRef, Prediction
from workers.sinks.archive_index import NAME, ArchiveIndex, Kept
from workers.sinks.archive_store import PictureStore
from workers.sinks.event import printable

log = structlog.get_logger()

ALWAYS = frozenset({Decision.REJECT, Decision.REVIEW, Decision.UNKNOWN})
SHED_AT_ONCE = 64  # pictures to a transaction
AGE_CHECK_S = 60.0  # how often the oldest are looked at while nothing else is shed
PNG_START = b"\x89PNG"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHARES = 2**64

Note = Callable[[str, float, str], None]  # kept | missed | shed | bytes | waiting, how many, decision or reason


class ArchiveSink:
    """JPEG and PNG files named by hashes, and an index on this machine. It never refuses a delivery once it is open.

    Beyond `max_bytes` or `max_age_s`, or where less than `min_free_bytes` are left on the disk, the oldest pictures go,
    those that are pinned excepted. What cannot be kept is counted, and the line goes on: results matter more. All
    regions of one picture share one file. One thread calls everything.
    """

    def __init__(
        self,
        store: PictureStore,
        *,
        index: Path,
        clock: Clock,
        keep: Collection[Decision] = ALWAYS,
        audit_share: float = 0.0,
        max_bytes: int,
        max_age_s: float,
        min_free_bytes: int = 0,
        note: Note = lambda _what, _n, _why: None,
        name: str = "archive",
    ) -> None:
        """Open folder and index, so that an unwritable one is known before the first frame. Raises SinkError.

        `index` is the folder of the index, on this machine. `audit_share` is of what `keep` leaves out, drawn by the
        event's hash: the same frame always, whoever asks.
        """
        self.name = name
        self._store = store
        self._clock = clock
        self._wants = wants(keep, audit_share=audit_share)
        self._max_bytes, self._max_age_s, self._min_free_bytes = max_bytes, max_age_s, min_free_bytes
        self._note = note
        self._closed = False
        self._ailing = False  # said once, until a picture is kept again
        self._aged_at = clock.monotonic()
        try:
            index.mkdir(parents=True, exist_ok=True)
            store.prepare()
            self._index = _opened(index)
            self._index.repair(store.pictures(), now=clock.utc())
            self._n_bytes = self._index.n_bytes()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(
                f"{store.shown}: expected a folder to keep pictures in, got: {reason}; name another"
            ) from error
        self._note("bytes", self._n_bytes, "")

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Keep the pictures that are wanted. Blocks for the disk; raises SinkError only after `close`."""
        if self._closed:
            raise SinkError(f"{self._store.shown}: expected an open archive, got a delivery after close")
        wanted = [one for one in predictions if self._wants(one)]
        if not wanted:
            return
        try:
            if self._make_room():
                self._take(wanted)
            else:
                self._miss(wanted, reason="disk", cause="less than min_free_gb is left on its disk")
        except sqlite3.Error as error:
            self._miss(wanted, reason="index", cause=str(error))

    def dead_letter(self, letter: DeadLetter) -> None:
        """Dead letters keep their bytes elsewhere."""
        if self._closed:
            raise SinkError(
                f"{self._store.shown}: expected an open archive, got dead letter {letter.reason} after close"
            )

    def flush(self) -> None:
        """Nothing is buffered; a quiet line uses the time to let old pictures go."""
        if self._closed or self._clock.monotonic() - self._aged_at < AGE_CHECK_S:
            return
        with contextlib.suppress(sqlite3.Error):
            self._expire()

    def close(self) -> None:
        """Release the index; may be called twice."""
        self._closed = True
        with contextlib.suppress(sqlite3.Error):
            self._index.close()

    def _take(self, wanted: Sequence[Prediction]) -> None:
        """Files first, then their rows in one transaction: a crash between them leaves files that `repair` counts."""
        written: set[str] = set()
        added = [(one, name) for one in wanted if (name := self._stored(one, written=written)) is not None]
        now = self._clock.utc()
        try:
            with self._index.transaction():
                n_new = sum(self._index.add(_kept(one, name=name), n_bytes=_size(one), at=now) for one, name in added)
        except sqlite3.Error:
            for name in written:  # what the index does not know would never be shed
                with contextlib.suppress(OSError):
                    self._store.remove(name)
            raise
        self._n_bytes += n_new
        for one, _ in added:
            self._note("kept", 1, one.decision.value)
        self._ailing = self._ailing and not added
        self._shed_to(self._max_bytes, reason="bytes")
        self._expire()

    def _stored(self, one: Prediction, *, written: set[str]) -> str | None:
        """Name of the file that holds its picture now; None where that could not be."""
        content = one.evidence
        if not content or len(content) > self._max_bytes:
            self._miss([one], reason="too_large" if content else "no_picture", cause="")
            return None
        name = _name(one.ref, content=content)
        if name in written or self._index.knows(name):  # of another region
            return name
        try:
            self._write(name, content=content)
        except OSError as error:
            self._miss([one], reason="disk", cause=error.strerror or str(error))
            return None
        written.add(name)
        return name

    def _write(self, name: str, *, content: bytes) -> None:
        """Once more where the disk was full and something could be shed. Raises OSError."""
        try:
            self._store.write(name, content=content)
        except OSError as error:
            if error.errno not in _FULL or not self._shed_to(self._n_bytes - len(content), reason="disk"):
                raise
            self._store.write(name, content=content)

    def _make_room(self) -> bool:
        """Give pictures up while the disk has less than it should; False where that is not enough."""
        while (lacking := self._min_free_bytes - self._store.free_bytes()) > 0:
            if not self._shed_to(int(self._n_bytes - lacking), reason="disk"):
                return False
        return True

    def _shed_to(self, n_bytes: int, *, reason: str) -> int:
        """Remove the oldest until so much is left, or nothing that is not pinned; how many went."""
        n_shed = 0
        while self._n_bytes > n_bytes and (found := self._index.oldest(n=SHED_AT_ONCE)):
            chosen, left = [], self._n_bytes
            for name, size in found:
                if left <= n_bytes:
                    break
                chosen.append((name, size))
                left -= size
            self._remove(chosen, reason=reason)
            n_shed += len(chosen)
        self._note("bytes", self._n_bytes, "")
        return n_shed

    def _expire(self) -> None:
        self._aged_at = self._clock.monotonic()
        while found := self._index.oldest(n=SHED_AT_ONCE, before=self._clock.utc() - self._max_age_s):
            self._remove(found, reason="age")
        self._note("bytes", self._n_bytes, "")

    def _remove(self, pictures: Sequence[tuple[str, int]], *, reason: str) -> None:
        """Files first: on a full disk the index cannot even delete before something is free."""
        for name, _ in pictures:
            with contextlib.suppress(OSError):  # gone already, or it comes back at the next start
                self._store.remove(name)
        self._index.forget([name for name, _ in pictures])
        self._n_bytes -= sum(size for _, size in pictures)
        self._note("shed", len(pictures), reason)

    def _miss(self, predictions: Sequence[Prediction], *, reason: str, cause: str) -> None:
        if cause and not self._ailing:
            log.warning("archive misses pictures", sink=self.name, folder=self._store.shown, reason=reason, cause=cause)
            self._ailing = True
        self._note("missed", len(predictions), reason)


def wants(keep: Collection[Decision], *, audit_share: float) -> Callable[[Prediction], bool]:
    """Whether the picture of a part is to be kept."""
    always = frozenset(keep)

    def wanted(prediction: Prediction) -> bool:
        if prediction.decision in always:
            return True
        drawn = hashlib.sha256(b"audit " + prediction.ref.event_id.encode()).digest()[:8]
        return int.from_bytes(drawn, "big") < audit_share * _SHARES

    return wanted


def _opened(folder: Path) -> ArchiveIndex:
    """The index; one that is damaged is set aside, and made anew from the files."""
    try:
        return ArchiveIndex(folder)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        log.error("archive index was damaged, made anew", folder=str(folder), cause=str(error))
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{NAME}{suffix}").replace(folder / f"{NAME}.damaged{suffix}")
        return ArchiveIndex(folder)


def _name(ref: FrameRef, *, content: bytes) -> str:
    """Of the picture, not of the region; a hash, so that no name from outside can lead out of the folder."""
    picture = f"{ref.source_id}\0{ref.epoch}\0{ref.sequence}"
    suffix = ".png" if content.startswith(PNG_START) else ".jpg"
    return f"{hashlib.sha256(picture.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}{suffix}"


def _size(one: Prediction) -> int:
    return len(one.evidence or b"")


def _kept(one: Prediction, *, name: str) -> Kept:
    return Kept(
        event_id=printable(one.ref.event_id),
        name=name,
        source_id=printable(one.ref.source_id),
        roi_id=printable(one.ref.roi_id),
        label=printable(one.label),
        confidence=one.confidence,
        decision=one.decision.value,
        captured_at=one.ref.captured_at,
        head=f"{one.head} {one.head_version}",
    )
