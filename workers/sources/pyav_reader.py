"""Reads RTSP through PyAV: typed errors, a hang noticed after one read time-out, transport per camera."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from pipeline.errors import SourceUnavailable
from workers.sources.diagnose import why_unreachable
from workers.sources.freshness import FreshnessGate
from workers.sources.reader import MAX_SKIP, Picture, ReaderTerms, StreamInfo


class PyAvReader:
    """The same FFmpeg as OpenCV's, without OpenCV between; cannot be woken, only time out."""

    def __init__(self, *, url: str, where: str, transport: str, terms: ReaderTerms) -> None:
        self._url = url
        self._where = where
        self._timeouts_s = (terms.open_timeout_ms / 1e3, terms.read_timeout_ms / 1e3)
        self._transport = transport
        self._clock = terms.clock
        self._on_skip = terms.on_skip
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._gate = FreshnessGate()
        self._info = StreamInfo(reader="pyav")

    @property
    def info(self) -> StreamInfo:
        """Codec and announced frame rate."""
        return self._info

    def open(self) -> None:
        """Connect and find the first video stream."""
        try:
            container = av.open(self._url, options={"rtsp_transport": self._transport}, timeout=self._timeouts_s)
        except (av.FFmpegError, OSError, ValueError) as error:
            cause = why_unreachable(self._url, timeout_s=self._timeouts_s[0])
            raise SourceUnavailable(f"{self._where}: no stream ({_reason(error)}): {cause}") from None  # quotes the URL
        self._container = container
        if not container.streams.video:
            self.close()
            raise SourceUnavailable(f"{self._where}: the stream holds no video")
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        self._info = StreamInfo(reader="pyav", codec=stream.codec_context.name, fps=float(rate) if rate else 0.0)
        self._frames = container.decode(stream)
        self._gate = FreshnessGate()

    def read(self) -> Picture:
        """The newest picture; blocks until the camera sends one, at most for the read time-out."""
        for _ in range(MAX_SKIP):
            frame, is_stale = self._next_frame()
            if not is_stale:
                break
            self._on_skip()
        else:
            frame, _ = self._next_frame()
        return Picture(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), stream_s=frame.time)

    def wake(self) -> None:
        """Nothing: a container may not be closed while another thread decodes from it."""

    def close(self) -> None:
        """Disconnect."""
        self._frames = iter(())
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def _next_frame(self) -> tuple[av.VideoFrame, bool]:
        """A frame, and whether a newer one lies behind it."""
        before = self._clock.monotonic()
        try:
            frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as error:
            raise SourceUnavailable(f"{self._where}: the stream broke: {_reason(error)}") from None
        if frame is None:
            raise SourceUnavailable(f"{self._where}: the camera ended the stream, or it is not open")
        now = self._clock.monotonic()
        if now - before >= self._timeouts_s[1]:  # so late come only the decoder's leftovers of a dead stream
            raise SourceUnavailable(f"{self._where}: no picture within {now - before:.1f} s")
        interval_s = 1.0 / self._info.fps if self._info.fps else 0.0
        stream_s = frame.time or 0.0
        return frame, self._gate.is_stale(grab_s=now - before, now=now, stream_s=stream_s, interval_s=interval_s)


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):  # how FFmpeg's interrupt reports a time-out
        return "nothing came in time"
    return getattr(error, "strerror", None) or type(error).__name__
