"""Segment files of the embedding recording: a header, then blocks of records, each with its checksum."""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

MAGIC = b"CLRREC1\n"
SUFFIX = ".rec"
_FILE_HEAD = struct.Struct("<8sII")  # magic, length of the JSON that follows, its CRC-32
_BLOCK_HEAD = struct.Struct("<4sIIddI")  # kind, payload bytes, CRC-32 of it, first and last captured_at, CRC of these
RECORDS, NAMES = b"FRAM", b"NAME"
MAX_HEADER = 65_536  # bytes of JSON; more is damage

Records = npt.NDArray[np.void]


def record_type(dim: int) -> np.dtype[np.void]:
    """One frame on disk, packed; `place` numbers source and ROI within the segment."""
    return np.dtype(
        [
            ("epoch", "<i8"),
            ("sequence", "<i8"),
            ("captured_at", "<f8"),
            ("place", "<u2"),
            ("label", "<i2"),
            ("confidence", "<f4"),
            ("head_version", "<u4"),
            ("embedding", "<f2", (dim,)),
        ]
    )


@dataclass(frozen=True, slots=True)
class SegmentKind:
    """What all frames of a segment have in common."""

    dim: int
    encoder_sha256: str
    preprocessing_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Records of one append."""

    records: Records  # (n,), read-only
    places: tuple[tuple[str, str], ...]  # (source, roi) by number, as far as this block needs them


@dataclass(frozen=True, slots=True)
class Extent:
    """What a walk over the block headers of a segment found."""

    end: int  # bytes up to the end of the last whole block
    last_at: float  # the latest captured_at, seconds since 1970; -inf where there is no frame
    n_frames: int


def file_header(kind: SegmentKind) -> bytes:
    """The first bytes of a segment."""
    text = json.dumps([kind.dim, kind.encoder_sha256, kind.preprocessing_sha256]).encode()
    return _FILE_HEAD.pack(MAGIC, len(text), zlib.crc32(text)) + text


def block_header(kind: bytes, *, payload: Any, size: int, first_at: float, last_at: float) -> bytes:
    """What goes before `payload` of `size` bytes."""
    head = _BLOCK_HEAD.pack(kind, size, zlib.crc32(payload), first_at, last_at, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head))


def names_block(names: list[tuple[str, str]]) -> bytes:
    """All sources and ROIs of the segment so far."""
    text = json.dumps(names).encode()
    return block_header(NAMES, payload=text, size=len(text), first_at=0.0, last_at=0.0) + text


def read_kind(path: Path) -> SegmentKind | None:
    """What a segment holds, or None where its header is torn or not ours."""
    with path.open("rb") as file:
        head = file.read(_FILE_HEAD.size)
        if len(head) < _FILE_HEAD.size:
            return None
        magic, length, crc = _FILE_HEAD.unpack(head)
        text = file.read(min(length, MAX_HEADER))
    if magic != MAGIC or zlib.crc32(text) != crc:
        return None
    dim, encoder, preprocessing = json.loads(text)
    return SegmentKind(int(dim), str(encoder), str(preprocessing))


@dataclass(frozen=True, slots=True)
class _Header:
    kind: bytes
    start: int  # of the payload
    end: int
    crc: int
    first_at: float
    last_at: float


class Segment:
    """A segment opened for reading; a writer may append to it, cut it or unlink it meanwhile. Raises DataError.

    Read by `pread`, not mapped: a process that touches a mapped page that a writer has just cut off is killed.
    """

    def __init__(self, path: Path) -> None:
        kind = read_kind(path)
        if kind is None:
            raise DataError(f"{path}: expected a segment of an embedding recording, got something else; remove it")
        self.kind = kind
        self.n_corrupt = 0  # blocks that were not what their checksum says, while reading
        self._type = record_type(kind.dim)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size
        self._begin = _FILE_HEAD.size + _FILE_HEAD.unpack(os.pread(self._fd, _FILE_HEAD.size, 0))[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def extent(self) -> Extent:
        """How far the whole blocks go. Reads headers, and of payloads only the last: a crash tears nothing before."""
        headers = list(self._headers())
        if headers and self._payload(headers[-1]) is None:
            headers.pop()
        frames = [header for header in headers if header.kind == RECORDS]
        return Extent(
            end=headers[-1].end if headers else self._begin,
            last_at=max((header.last_at for header in frames), default=-math.inf),
            n_frames=sum(header.end - header.start for header in frames) // self._type.itemsize,
        )

    def blocks(self, *, since: float = -math.inf, until: float = math.inf) -> Iterator[Block]:
        """Blocks with frames in a span of captured_at, in the order they were written; damaged ones are counted."""
        places: tuple[tuple[str, str], ...] = ()
        for header in self._headers():
            if header.kind == RECORDS and (header.last_at < since or header.first_at > until):
                continue
            payload = self._payload(header)
            if payload is None:
                self.n_corrupt += header.end < self._size  # the last one may just be in writing
            elif header.kind == NAMES:
                places = tuple((str(source), str(roi)) for source, roi in json.loads(payload))
            else:
                records = np.frombuffer(payload, self._type)
                if int(records["place"].max(initial=0)) < len(places):
                    yield Block(records=records, places=places)
                else:
                    self.n_corrupt += 1  # the block with their names is damaged

    def _headers(self) -> Iterator[_Header]:
        """Up to the first header that is not whole: what follows cannot be found."""
        place = self._begin
        while place + _BLOCK_HEAD.size <= self._size:
            raw = os.pread(self._fd, _BLOCK_HEAD.size, place)
            if len(raw) < _BLOCK_HEAD.size:
                return
            kind, length, crc, first_at, last_at, own_crc = _BLOCK_HEAD.unpack(raw)
            start = place + _BLOCK_HEAD.size
            if zlib.crc32(raw[:-4]) != own_crc or start + length > self._size:
                return
            place = start + length
            yield _Header(kind, start, place, crc, first_at, last_at)

    def _payload(self, header: _Header) -> bytes | None:
        payload = os.pread(self._fd, header.end - header.start, header.start)
        return payload if zlib.crc32(payload) == header.crc else None
