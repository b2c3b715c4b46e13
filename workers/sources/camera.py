"""Frames from a camera: RTSP, a local device, or MJPEG over HTTP, with time-outs, freshness and a watchdog."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol

from pipeline.errors import BadFrame, ConfigError, SourceError, SourceUnavailable
from pipeline.interfaces import Clock
from pipeline.types import SourceFrame
from workers.sources.mjpeg_reader import MjpegReader
from workers.sources.opencv_reader import OpenCvReader
from workers.sources.reader import Reader, ReaderTerms, StreamInfo
from workers.sources.url import device_index, redact, scheme_of
from workers.sources.watchdog import FrameWatchdog

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "rtp")
Url = int | str


class MakeReader(Protocol):
    """Makes the reader of one connection; `where` names the camera in messages."""

    def __call__(self, *, where: str, terms: ReaderTerms) -> Reader: ...


class CameraSource:
    """One camera. `read` gives the newest picture and counts the stale ones it let pass.

    `auto` reads http through Clearline's own MJPEG reader (FFmpeg hides cut JPEGs), UDP transport through PyAV (OpenCV
    knows one transport per process), and all else through OpenCV. The password of the URL appears in no message.
    """

    def __init__(
        self,
        source_id: str,
        *,
        url: Url | Callable[[], Url],
        clock: Clock,
        open_timeout_ms: int = 5000,
        read_timeout_ms: int = 5000,
        stall_ms: int = 5000,
        frozen_ms: int = 10_000,
        transport: Literal["tcp", "udp"] = "tcp",
        reader: Literal["auto", "opencv", "pyav", "mjpeg"] | MakeReader = "auto",
        live: bool = True,
    ) -> None:
        """`url` may be a function, called at each `open`: for a URL kept in a file that is changed at run time.

        `reader` may make one, for a camera without a stream URL. `live`: False where a trigger takes the pictures.
        `stall_ms`: longest time with broken pictures only. `frozen_ms`: with the same picture; 0 turns it off.
        """
        if min(open_timeout_ms, read_timeout_ms) <= 0:
            raise ConfigError(
                f"source {source_id}: time-outs must be above 0 ms, got open {open_timeout_ms}, read {read_timeout_ms}"
            )
        self._source_id = source_id
        self._read_url = url if callable(url) else lambda: url
        self._clock = clock
        self._terms = ReaderTerms(
            open_timeout_ms, read_timeout_ms, clock, on_skip=self._count_skipped, on_lost=self._count_lost
        )
        self._transport = transport
        self._reader_kind = reader
        self._live = live
        self._stall_s, self._frozen_s = stall_ms / 1e3, frozen_ms / 1e3
        self._watchdog = self._new_watchdog(where=f"camera {source_id}")
        self._reader: Reader | None = None
        self._busy = threading.Lock()  # held while the reading thread is inside the reader
        self._closing = threading.Event()
        self._n_read = 0
        self._n_skipped = self._n_lost = 0  # since the last frame handed out, over reconnects
        self.stream_s: float | None = None

    @property
    def source_id(self) -> str:
        """Names the source in every event and metric."""
        return self._source_id

    @property
    def live(self) -> bool:
        """True unless it is triggered: the camera makes pictures whether or not somebody reads."""
        return self._live

    @property
    def info(self) -> StreamInfo | None:
        """What the stream says about itself, while it is open."""
        reader = self._reader
        return reader.info if reader is not None else None

    def open(self) -> None:
        """Connect. Raises SourceUnavailable (try again) or SourceError (the URL cannot be used at all)."""
        url = self._read_url()
        shown = redact(str(url))
        where = f"camera {self._source_id} ({shown})"
        with self._busy:
            self._closing.clear()
            if self._reader is not None:
                self._reader.close()
            self._reader = None
            reader = self._new_reader(url, where=where)
            reader.open()
            self._reader = reader
            self._n_read = 0
            self._watchdog = self._new_watchdog(where=where)
        if self._closing.is_set():
            self._release()
            raise SourceUnavailable(f"{where}: closed while it was being opened")

    def read(self) -> SourceFrame | None:
        """The newest picture; None when `close` came meanwhile. Raises BadFrame, SourceUnavailable."""
        try:
            with self._busy:
                return self._read_open()
        except SourceError:
            if self._closing.is_set():
                return None
            raise
        finally:
            if self._closing.is_set():
                self._release()

    def ack(self, position: object) -> None:
        """A camera needs no acknowledgement."""

    def close(self) -> None:
        """Never blocks. A `read` inside OpenCV or PyAV returns after its time-outs and releases the camera itself."""
        self._closing.set()
        reader = self._reader
        if reader is not None:
            reader.wake()
        self._release()

    def _read_open(self) -> SourceFrame | None:
        reader = self._reader
        if reader is None:
            raise SourceUnavailable(f"camera {self._source_id}: read needs an open camera; call open first")
        try:
            picture = reader.read()
        except BadFrame as bad:
            self._watchdog.check()
            bad.position = self._next_position()
            raise
        if picture is None:
            return None
        received_at = self._clock.monotonic()
        captured_at = picture.captured_at if picture.captured_at is not None else self._clock.utc()
        self._watchdog.seen(picture.image)
        self.stream_s = picture.stream_s
        (skipped, lost), (self._n_skipped, self._n_lost) = (self._n_skipped, self._n_lost), (0, 0)
        return SourceFrame(
            image=picture.image,
            captured_at=captured_at,
            capture_time_source="host",
            received_at=received_at,
            position=self._next_position(),
            evidence=picture.evidence,
            skipped=skipped,
            lost=lost,
        )

    def _count_skipped(self) -> None:
        self._n_skipped += 1

    def _count_lost(self, n: int) -> None:
        self._n_lost += n

    def _next_position(self) -> int:
        self._n_read += 1
        return self._n_read - 1

    def _release(self) -> None:
        """Close the reader unless the reading thread is inside it; that thread then comes here itself."""
        if self._busy.acquire(blocking=False):
            try:
                reader, self._reader = self._reader, None
                if reader is not None:
                    reader.close()
            finally:
                self._busy.release()

    def _new_watchdog(self, *, where: str) -> FrameWatchdog:
        return FrameWatchdog(stall_s=self._stall_s, frozen_s=self._frozen_s, clock=self._clock, where=where)

    def _new_reader(self, url: Url, *, where: str) -> Reader:
        if callable(self._reader_kind):
            return self._reader_kind(where=where, terms=self._terms)
        kind = self._reader_kind if self._reader_kind != "auto" else self._auto_reader(url, where=where)
        if kind == "opencv":
            return OpenCvReader(url=url, where=where, terms=self._terms)
        if kind == "mjpeg":
            return MjpegReader(url=str(url), where=where, terms=self._terms)
        from workers.sources.pyav_reader import PyAvReader

        return PyAvReader(url=str(url), where=where, transport=self._transport, terms=self._terms)

    def _auto_reader(self, url: Url, *, where: str) -> str:
        if isinstance(url, int) or device_index(url) is not None or url.startswith("/dev/"):
            return "opencv"
        scheme = scheme_of(url)
        if scheme not in SCHEMES:
            raise SourceError(
                f"{where}: expected rtsp://, http:// or the index of a local camera, got "
                f"{f'the scheme {scheme}' if scheme else 'no scheme'}; a file is played by a source of type replay"
            )
        if scheme in ("http", "https"):
            return "mjpeg"
        return "pyav" if self._transport == "udp" and scheme == "rtsp" else "opencv"
