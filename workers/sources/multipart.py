"""Splits a multipart/x-mixed-replace byte stream into its parts, and finds its feet again after a cut one."""

from __future__ import annotations

import re
from email.message import Message

MAX_PART_BYTES = 64 * 1024 * 1024  # no camera sends a JPEG as large; bounds the memory of a stream that is none
_LENGTH = re.compile(rb"^content-length\s*:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


def boundary_of(content_type: str) -> bytes:
    """The boundary named in a Content-Type header, without leading dashes (cameras disagree on them); empty if none."""
    message = Message()
    message["Content-Type"] = content_type
    value = message.get_param("boundary")
    return value.strip('"').lstrip("-").encode() if isinstance(value, str) else b""


class MultipartParser:
    """Bytes in, whole parts out. A part ends at the next boundary, also where its Content-Length promised more."""

    def __init__(self, *, boundary: bytes, max_bytes: int = MAX_PART_BYTES) -> None:
        self.max_bytes = max_bytes
        self._mark = b"--" + boundary
        self._end = re.compile(rb"\r\n-{0,4}--" + re.escape(boundary))  # some cameras add the dashes twice
        self._buffer = bytearray()
        self._searched = 0  # no boundary before this index of the body; spares searching it again

    def feed(self, data: bytes) -> bool:
        """Append what came; False when the buffer holds more than any part can be."""
        self._buffer += data
        return len(self._buffer) <= self.max_bytes

    def next_part(self) -> bytes | None:
        """The body of the next complete part, or None when more bytes are needed. Empty parts are passed over."""
        while True:
            body = self._take()
            if body is None or body:
                return body

    def _take(self) -> bytes | None:
        start = self._buffer.find(self._mark)
        if start < 0:
            return None
        head_at = start + len(self._mark)
        head_end = self._buffer.find(b"\r\n\r\n", head_at)
        if head_end < 0:
            return None
        body_at = head_end + 4
        length = _LENGTH.search(bytes(self._buffer[head_at:head_end]).replace(b"\r", b""))
        if length is not None:
            return self._take_measured(body_at, body_at + int(length.group(1)))
        return self._take_up_to_mark(body_at, len(self._buffer))

    def _take_measured(self, body_at: int, body_end: int) -> bytes | None:
        """Look for a boundary inside the promised length first: there the camera cut the picture short."""
        early = self._take_up_to_mark(body_at, body_end)
        if early is not None or len(self._buffer) < body_end:
            return early
        return self._cut(body_at, body_end)

    def _take_up_to_mark(self, body_at: int, body_end: int) -> bytes | None:
        found = self._end.search(self._buffer, max(body_at, self._searched), body_end)
        if found is not None:
            return self._cut(body_at, found.start())
        self._searched = max(body_at, len(self._buffer) - len(self._mark) - 6)
        return None

    def _cut(self, start: int, end: int) -> bytes:
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        self._searched = 0
        return body
