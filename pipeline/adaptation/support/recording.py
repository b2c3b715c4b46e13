"""The recording of a running line: every embedding of the last hours, bounded, for references, pools and labels."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.adaptation.support.segments import (
    RECORDS,
    SUFFIX,
    Segment,
    SegmentKind,
    block_header,
    file_header,
    names_block,
    read_kind,
    record_type,
)
from pipeline.errors import DataError, SinkError
from pipeline.types import EncoderInfo, Float32Array, FrameRef

BATCH = 64  # frames that the buffer holds from the beginning
MAX_PLACES = 65_535  # sources times ROIs in one segment


@dataclass
class _Closed:
    path: Path
    n_bytes: int
    last_at: float


class EmbeddingRecording:
    """Append-only segments in one folder, the oldest removed first. One thread, one writer per folder.

    A kill of the process loses nothing that `append` returned from; a power cut loses what the kernel had not written,
    some seconds: call `sync` as often as that matters. Frames of another encoder are never read together with these.
    Raises DataError where the folder is used by another writer, SinkError where the disk refuses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        encoder: EncoderInfo,
        max_bytes: int = 4 << 30,
        max_age_s: float = 14 * 86_400.0,
        segment_bytes: int = 64 << 20,
    ) -> None:
        if max_bytes < 2 * segment_bytes:
            raise DataError(
                f"recording: expected max_bytes of at least two segments of {segment_bytes}, got {max_bytes}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.n_cut_bytes = 0  # of tails that a crash tore, at opening
        self.n_removed_segments = 0
        self._kind = SegmentKind(encoder.embedding_dim, encoder.sha256, encoder.preprocessing_sha256)
        self._header = file_header(self._kind)
        self._type = record_type(encoder.embedding_dim)
        self._buffer = np.empty(BATCH, self._type)  # reused: the line's batches have few sizes
        self._max_bytes, self._max_age_s, self._segment_bytes = max_bytes, max_age_s, segment_bytes
        self._fd, self._path, self._end, self._last_at = -1, folder, 0, -np.inf
        self._is_closed = False
        self._torn = False  # the last write failed: there may be half of it behind the end
        self._places: dict[tuple[str, str], int] = {}
        self._lock = _lock(folder / "lock")
        self._closed: list[_Closed] = []
        self._closed_bytes = 0
        try:
            self._reopen()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def n_bytes(self) -> int:
        """On disk, all segments."""
        return self._closed_bytes + self._end

    @property
    def n_segments(self) -> int:
        """Files, the one that is written to included."""
        return len(self._closed) + (self._fd >= 0)

    def append(
        self,
        refs: Sequence[FrameRef],
        *,
        embeddings: Float32Array,
        labels: npt.NDArray[np.integer],
        confidences: npt.NDArray[np.floating],
        head_version: int,
        at: float,
    ) -> None:
        """One decided batch: n refs, (n, D) embeddings, (n,) class numbers of that head and calibrated confidences.

        `at` is now, UTC: segments whose last frame is older than `max_age_s` go.
        """
        n = len(refs)
        if embeddings.shape != (n, self._kind.dim) or not labels.shape == confidences.shape == (n,):
            got = f"{embeddings.shape}, {labels.shape} and {confidences.shape}"
            raise DataError(f"recording: expected {n} rows of {self._kind.dim} values, labels, confidences, got {got}")
        if n == 0:
            return
        places, captured = self._number(refs), [ref.captured_at for ref in refs]
        if n > len(self._buffer):
            self._buffer = np.empty(n, self._type)
        block = self._buffer[:n]
        block["epoch"] = [ref.epoch for ref in refs]
        block["sequence"] = [ref.sequence for ref in refs]
        block["captured_at"] = captured
        block["place"] = places
        block["label"] = labels
        block["confidence"] = confidences
        block["head_version"] = head_version
        block["embedding"] = _half(embeddings)
        first_at, last_at = min(captured), max(captured)
        payload = block.view(np.uint8).data
        head = block_header(RECORDS, payload=payload, size=payload.nbytes, first_at=first_at, last_at=last_at)
        self._write([head, payload])
        self._last_at = max(self._last_at, last_at)
        self._keep_bounds(at=at)

    def sync(self) -> None:
        """Force what was appended to the disk. Blocks for as long as the disk takes."""
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._refused(error) from error

    def close(self) -> None:
        """Sync and release; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.sync()
        finally:
            self._close_segment()
            os.close(self._lock)

    def _number(self, refs: Sequence[FrameRef]) -> list[int]:
        """Numbers of source and ROI in this segment; new names are written before the frames that need them."""
        if self._is_closed:
            raise DataError(f"{self.folder}: expected an open recording, got frames after close")
        if self._fd < 0 or self._end >= self._segment_bytes or len(self._places) + len(refs) > MAX_PLACES:
            self._rotate()
        keys = [(ref.source_id, ref.roi_id) for ref in refs]
        try:
            return [self._places[key] for key in keys]
        except KeyError:
            names = list(dict.fromkeys([*self._places, *keys]))
            self._write([names_block(names)])
            self._places = {key: number for number, key in enumerate(names)}
        return [self._places[key] for key in keys]

    def _write(self, parts: list[bytes | memoryview]) -> None:
        """All of it or nothing: what a write that failed left behind is cut off before the next one."""
        size = sum(len(part) for part in parts)
        try:
            if self._torn:
                os.ftruncate(self._fd, self._end)
            self._torn = True
            if os.writev(self._fd, parts) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
        except OSError as error:
            raise self._refused(error) from error
        self._end += size

    def _keep_bounds(self, *, at: float) -> None:
        """The oldest segments go first; the one being written stays."""
        room = self._max_bytes - self._segment_bytes  # what the one being written may still grow to
        while self._closed and (self._closed_bytes > room or self._closed[0].last_at < at - self._max_age_s):
            oldest = self._closed.pop(0)
            with contextlib.suppress(FileNotFoundError):
                oldest.path.unlink()
            self._closed_bytes -= oldest.n_bytes
            self.n_removed_segments += 1

    def _keep(self, path: Path, *, n_bytes: int, last_at: float) -> None:
        self._closed.append(_Closed(path, n_bytes, last_at))
        self._closed_bytes += n_bytes

    def _rotate(self) -> None:
        """Without a sync, which could hold up the line for a second; the kernel writes in its own time."""
        if self._fd >= 0:
            self._close_segment()
            self._keep(self._path, n_bytes=self._end, last_at=self._last_at)
        self._start(int(self._path.stem) + 1)

    def _start(self, number: int) -> None:
        """A segment whose header cannot be written is given up; the next append tries again."""
        self._path = self.folder / f"{number:012d}{SUFFIX}"
        self._end, self._last_at, self._places, self._torn = 0, -np.inf, {}, False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._write([self._header])
        except SinkError:
            self._close_segment()
            raise

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _reopen(self) -> None:
        """Take over what is there: cut the torn tail of the newest segment, then go on in a new one.

        A segment without frames goes: a process that starts again and again leaves no heap of them.
        """
        paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        for path in paths:
            size = path.stat().st_size
            if read_kind(path) is None:
                self.n_cut_bytes += size
                path.unlink()
                continue
            with Segment(path) as segment:
                extent = segment.extent()
            if extent.n_frames == 0:
                path.unlink()
                continue
            if path == paths[-1] and extent.end < size:
                self.n_cut_bytes += size - extent.end
                os.truncate(path, extent.end)
                size = extent.end
            self._keep(path, n_bytes=size, last_at=extent.last_at)
        self._start(int(paths[-1].stem) + 1 if paths else 1)

    def _refused(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path}: cannot write: {error.strerror}; free space or name another path")


def _half(embeddings: Float32Array) -> npt.NDArray[np.float16]:
    """(n, D) of unit norm -> fp16 by torch: NumPy converts value by value, three times as slow."""
    own = np.require(embeddings, requirements=["C", "W"])  # torch warns of arrays that it could not write to
    half: npt.NDArray[np.float16] = torch.from_numpy(own).to(torch.float16).numpy()
    return half


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise DataError(
            f"{path.parent}: expected to be the only writer of this recording, got another process; stop it"
        ) from error
    return fd
