"""Reads MJPEG over HTTP (multipart/x-mixed-replace) itself, because FFmpeg delivers cut JPEGs as if they were whole."""

from __future__ import annotations

import http.client
import select
import socket
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import SourceError, SourceUnavailable
from workers.encoded import decode
from workers.sources.multipart import MultipartParser, boundary_of
from workers.sources.reader import MAX_SKIP, Picture, ReaderTerms, StreamInfo

CHUNK_BYTES = 65_536


class MjpegReader:
    """One GET that never ends; the newest of the JPEGs that have come is decoded, the older ones are let pass."""

    def __init__(self, *, url: str, where: str, terms: ReaderTerms) -> None:
        self._url = url
        self._where = where
        self._open_timeout_s = terms.open_timeout_ms / 1e3
        self._read_timeout_s = terms.read_timeout_ms / 1e3
        self._clock = terms.clock
        self._on_skip = terms.on_skip
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._parser = MultipartParser(boundary=b"")

    @property
    def info(self) -> StreamInfo:
        """An MJPEG stream says nothing but its codec."""
        return StreamInfo(reader="mjpeg", codec="mjpeg")

    def open(self) -> None:
        """Connect and check that the answer is a multipart stream."""
        try:
            parts = urlsplit(self._url)
            host, port = parts.hostname, parts.port
        except ValueError:  # its text may quote the URL
            host, port = None, None
        if not host:
            raise SourceError(
                f"{self._where}: expected http://host:port/path, got a URL that cannot be parsed"
            ) from None
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(host, port, timeout=self._open_timeout_s)
        try:
            connection.connect()
            self._socket = connection.sock  # kept, because the response takes it from the connection
            connection.request("GET", _target(parts), headers=_headers(parts))
            self._response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.close()
            raise SourceUnavailable(f"{self._where}: no stream: {_reason(error)}") from None  # may quote the URL
        self._check(self._response)
        self._socket.settimeout(self._read_timeout_s)

    def read(self) -> Picture:
        """Blocks for at most the read time-out, for a whole picture and not for each byte of it."""
        deadline = self._clock.monotonic() + self._read_timeout_s
        newest, n_skipped = self._parser.next_part(), 0
        while newest is None:
            if self._clock.monotonic() > deadline:
                raise SourceUnavailable(f"{self._where}: no whole picture within {self._read_timeout_s:.1f} s")
            self._receive()
            newest = self._parser.next_part()
        while n_skipped < MAX_SKIP and (newer := self._next_at_once()) is not None:
            newest, n_skipped = newer, n_skipped + 1
            self._on_skip()
        return Picture(decode(newest, where=self._where), evidence=newest)

    def wake(self) -> None:
        """Ends a blocked `read` at once."""
        connection = self._socket
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # already gone, which is what was wanted

    def close(self) -> None:
        """Disconnect."""
        response, self._response = self._response, None
        if response is not None:
            response.close()
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _check(self, response: http.client.HTTPResponse) -> None:
        kind = response.headers.get_content_type()
        boundary = boundary_of(response.headers.get("Content-Type", ""))
        if response.status == http.HTTPStatus.OK and kind.startswith("multipart/") and boundary:
            self._parser = MultipartParser(boundary=boundary)
            return
        self.close()
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            hint = "user and password are missing or refused; a camera that wants digest needs reader opencv"
        elif response.status != http.HTTPStatus.OK:
            hint = f"the camera answers {response.status} {response.reason}"
        else:
            hint = f"the camera sends {kind}, not multipart/x-mixed-replace; another path, or reader opencv?"
        raise SourceUnavailable(f"{self._where}: no MJPEG stream: {hint}")

    def _next_at_once(self) -> bytes | None:
        """The next part, if all of it has come already."""
        part = self._parser.next_part()
        while part is None and self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            try:
                self._receive()
            except SourceUnavailable:
                return None  # the picture in hand is good; the next read finds the stream ended
            part = self._parser.next_part()
        return part

    def _receive(self) -> None:
        if self._response is None:
            raise SourceUnavailable(f"{self._where}: read needs an open camera; call open first")
        try:
            data = self._response.read1(CHUNK_BYTES)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceUnavailable(f"{self._where}: the stream broke: {_reason(error)}") from error
        if not data:
            raise SourceUnavailable(f"{self._where}: the camera ended the stream")
        if not self._parser.feed(data):
            raise SourceUnavailable(f"{self._where}: more than {self._parser.max_bytes} bytes without a part boundary")


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"User-Agent": "clearline", "Accept": "multipart/x-mixed-replace, */*"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    return headers


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
