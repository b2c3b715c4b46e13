"""Reads RTSP streams and local cameras through `cv2.VideoCapture`."""

from __future__ import annotations

import sys

import cv2
import numpy as np

from pipeline.errors import BadFrame, SourceUnavailable
from workers.sources.diagnose import why_unreachable
from workers.sources.ffmpeg import codec_name, prepare_ffmpeg
from workers.sources.freshness import FreshnessGate
from workers.sources.reader import MAX_SKIP, Picture, ReaderTerms, StreamInfo
from workers.sources.url import device_index

MAX_FPS = 1000.0  # above it the stream's frame rate is its time base (90000), not a rate


class OpenCvReader:
    """`cv2.VideoCapture` with time-outs, stale pictures grabbed but not decoded to BGR.

    OpenCV cannot be interrupted, so `wake` is idle: a blocked `read` ends with its time-out.
    """

    def __init__(self, *, url: int | str, where: str, terms: ReaderTerms) -> None:
        self._url = url
        self._where = where
        self._terms = terms
        self._clock = terms.clock
        self._capture: cv2.VideoCapture | None = None
        self._gate = FreshnessGate()
        self._info = StreamInfo(reader="opencv")

    @property
    def info(self) -> StreamInfo:
        """Codec and announced frame rate."""
        return self._info

    def open(self) -> None:
        """Connect; says why not as far as it can be found out, because OpenCV does not."""
        prepare_ffmpeg()
        started_at = self._clock.monotonic()
        self._capture = self._new_capture()
        if not self._capture.isOpened():
            self.close()
            waited_s = self._clock.monotonic() - started_at
            cause = why_unreachable(self._url, timeout_s=self._terms.open_timeout_ms / 1e3)
            raise SourceUnavailable(f"{self._where}: no stream within {waited_s:.1f} s: {cause}")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the backend can; FFmpeg cannot, hence the skipping
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._info = StreamInfo(reader="opencv", codec=codec_name(self._capture), fps=fps if 0 < fps < MAX_FPS else 0.0)
        self._gate = FreshnessGate()

    def read(self) -> Picture:
        """The newest picture; blocks until the camera sends one."""
        if self._capture is None:
            raise SourceUnavailable(f"{self._where}: read needs an open camera; call open first")
        n_skipped, started_at = 0, self._clock.monotonic()
        while self._grab_is_stale():
            if n_skipped == MAX_SKIP or self._clock.monotonic() - started_at > self._terms.read_timeout_ms / 1e3:
                break
            n_skipped += 1
            self._terms.on_skip()
        taken, image = self._capture.retrieve()
        if not taken:
            raise BadFrame(f"{self._where}: the decoder gave no picture for a frame that came")
        return Picture(np.asarray(image, np.uint8), stream_s=self._stream_s())

    def wake(self) -> None:
        """Nothing: releasing a capture that another thread reads from would crash the process."""

    def close(self) -> None:
        """Disconnect."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _grab_is_stale(self) -> bool:
        assert self._capture is not None
        before = self._clock.monotonic()
        grabbed = self._capture.grab()
        now = self._clock.monotonic()
        waited_s = now - before
        if (
            not grabbed or waited_s >= self._terms.read_timeout_ms / 1e3
        ):  # late ones are the decoder's leftovers of a dead stream
            self.close()  # a capture that failed once never recovers
            raise SourceUnavailable(
                f"{self._where}: the stream ended or went silent ({waited_s:.1f} s waited, "
                f"read time-out {self._terms.read_timeout_ms} ms); check the camera and its network"
            )
        interval_s = 1.0 / self._info.fps if self._info.fps else 0.0
        return self._gate.is_stale(grab_s=waited_s, now=now, stream_s=self._stream_s(), interval_s=interval_s)

    def _stream_s(self) -> float:
        assert self._capture is not None
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3

    def _new_capture(self) -> cv2.VideoCapture:
        local = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        index = self._url if isinstance(self._url, int) else device_index(self._url)
        if index is not None:
            return cv2.VideoCapture(index, local)
        if str(self._url).startswith("/dev/"):
            return cv2.VideoCapture(str(self._url), local)
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            self._terms.open_timeout_ms,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            self._terms.read_timeout_ms,
        ]
        return cv2.VideoCapture(str(self._url), cv2.CAP_FFMPEG, timeouts)
