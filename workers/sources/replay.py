"""Frames from files: a video, a GIF, a picture, or a folder of them, as fast as they are read or at their own speed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from pipeline.errors import BadFrame, ConfigError, SourceError, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Clock
from pipeline.types import SourceFrame, UInt8Array
from workers.encoded import decode, is_jpeg_or_png
from workers.sources.ffmpeg import codec_name, prepare_ffmpeg
from workers.sources.files import IMAGE_SUFFIXES, list_files
from workers.sources.reader import StreamInfo

MAX_LATE_S = 0.5  # a reader later than this is not chased with a burst; the recording slips instead
READ_TIMEOUT_S = 0.5  # longest wait of one read: so long may `close` go unnoticed


@dataclass(frozen=True, slots=True)
class _Picture:
    image: UInt8Array
    file: Path
    step_s: float  # recording time since the picture before
    evidence: bytes | None = None


class ReplaySource:
    """Plays `path` in natural order of names; never drops, because a file waits.

    A broken file inside a folder is one BadFrame with its bytes; a broken single file is a SourceError.
    """

    def __init__(
        self,
        source_id: str,
        *,
        path: Path | str,
        clock: Clock,
        speed: Literal["as_fast", "real_time"] = "as_fast",
        fps: float = 15.0,
        loop: bool = False,
        labels: Literal["none", "folders"] = "none",
    ) -> None:
        """`fps` paces pictures at real_time; a video has its own times. labels="folders": truth is the class folder."""
        if fps <= 0:
            raise ConfigError(f"source {source_id}: fps must be above 0, got {fps}")
        self._source_id = source_id
        self._path = Path(path)
        self._clock = clock
        self._real_time = speed == "real_time"
        self._fps = fps
        self._loop = loop
        self._labels = labels
        self._lock = threading.Lock()  # around the decoder: `close` comes from another thread
        self._pictures: Generator[_Picture | BadFrame, None, None] | None = None
        self._pending: _Picture | None = None  # taken from the file, not yet due
        self._due_at: float | None = None
        self._n_read = 0
        self.info: StreamInfo | None = None  # of the newest video

    @property
    def source_id(self) -> str:
        """Names the source in every event and metric."""
        return self._source_id

    @property
    def live(self) -> bool:
        """False: a file waits for its reader."""
        return False

    @property
    def _where(self) -> str:
        return f"source {self._source_id}: {self._path}"

    def open(self) -> None:
        """Look at `path` and begin at its start. Raises SourceError with what is wrong and what to do."""
        prepare_ffmpeg()
        files = list_files(self._path, where=self._where)
        if len(files) == 1 and not _is_image(files[0]):
            _open_video(files[0], where=self._where).release()
        with self._lock:
            self._pictures = self._play(files)
            self._pending = None
            self._due_at = None
            self._n_read = 0

    def read(self) -> SourceFrame | None:
        """The next picture; at real_time blocks until it is due, at most READ_TIMEOUT_S, then None.

        Raises BadFrame, SourceExhausted at the end, SourceUnavailable when not open.
        """
        with self._lock:
            picture = self._pending or self._take()
            self._pending = None
        if self._real_time and not self._is_due(picture):
            return None
        return SourceFrame(
            image=picture.image,
            captured_at=self._clock.utc(),
            capture_time_source="file",
            received_at=self._clock.monotonic(),
            position=self._n_read - 1,
            truth=self._truth(picture.file),
            evidence=picture.evidence,
            name=self._name(picture.file),
        )

    def ack(self, position: object) -> None:
        """A file needs no acknowledgement."""

    def close(self) -> None:
        """Forget the place in the file; a waiting `read` ends within READ_TIMEOUT_S or when the clock closes."""
        with self._lock:
            pictures, self._pictures = self._pictures, None
            self._pending = None
            if pictures is not None:
                pictures.close()  # runs the generator's finally, which frees the decoder

    def _take(self) -> _Picture:
        if self._pictures is None:
            raise SourceUnavailable(f"{self._where}: read needs an open source; call open first")
        taken = next(self._pictures, None)
        if taken is None:
            raise SourceExhausted(f"{self._where}: all {self._n_read} pictures were read")
        self._n_read += 1
        if isinstance(taken, BadFrame):
            taken.position = self._n_read - 1
            raise taken
        if self._real_time:
            self._schedule(taken.step_s)
        return taken

    def _schedule(self, step_s: float) -> None:
        now = self._clock.monotonic()
        due_at = now if self._due_at is None else self._due_at + step_s
        self._due_at = now if now - due_at > MAX_LATE_S else due_at

    def _is_due(self, picture: _Picture) -> bool:
        """Wait for its moment; False when it has not come, and then it stays pending."""
        ahead_s = (self._due_at or 0.0) - self._clock.monotonic()
        if ahead_s <= 0:
            return True
        woken = self._clock.wait(min(ahead_s, READ_TIMEOUT_S))
        with self._lock:
            if not woken and ahead_s <= READ_TIMEOUT_S and self._pictures is not None:
                return True
            self._pending = picture if self._pictures is not None else None
        return False

    def _play(self, files: list[Path]) -> Generator[_Picture | BadFrame, None, None]:
        while True:
            any_good = False
            for file in files:
                pictures = self._image(file) if _is_image(file) else self._video(file, alone=len(files) == 1)
                for one in pictures:
                    any_good = any_good or isinstance(one, _Picture)
                    yield one
            if not self._loop:
                return
            if not any_good:
                raise SourceError(f"{self._where}: none of its {len(files)} files holds a picture OpenCV can decode")

    def _image(self, file: Path) -> Iterator[_Picture | BadFrame]:
        where = f"source {self._source_id}: {file}"
        try:
            data = file.read_bytes()
        except OSError as error:
            yield BadFrame(f"{where}: cannot be read: {error.strerror}", reason="unreadable")
            return
        try:
            image = decode(data, where=where)
        except BadFrame as bad:
            yield bad
            return
        yield _Picture(image, file, 1.0 / self._fps, data if is_jpeg_or_png(data) else None)

    def _video(self, file: Path, *, alone: bool) -> Iterator[_Picture | BadFrame]:
        where = f"source {self._source_id}: {file}"
        try:
            capture = _open_video(file, where=where)
        except SourceError as error:
            if alone:
                raise
            yield BadFrame(str(error))
            return
        try:
            n_frames, last_s = 0, 0.0
            self.info = StreamInfo("opencv", codec=codec_name(capture), fps=capture.get(cv2.CAP_PROP_FPS))
            usual_s = 1.0 / (self.info.fps or self._fps)
            while capture.grab():
                taken, image = capture.retrieve()
                if not taken:
                    yield BadFrame(f"{where}: frame {n_frames} cannot be decoded")
                    continue
                at_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                step_s = at_s - last_s if n_frames and at_s > last_s else usual_s
                n_frames, last_s = n_frames + 1, at_s
                yield _Picture(np.asarray(image, np.uint8), file, step_s)
        finally:
            capture.release()
        if n_frames == 0:
            empty = f"{where}: expected frames, got a video without any; is the recording complete?"
            if alone:
                raise SourceError(empty)
            yield BadFrame(empty)

    def _truth(self, file: Path) -> str | None:
        """The first folder below `path`; None for a file that lies in no class folder."""
        if self._labels != "folders" or not self._path.is_dir():
            return None
        parts = file.relative_to(self._path).parts
        return parts[0] if len(parts) > 1 else None

    def _name(self, file: Path) -> str:
        return file.relative_to(self._path).as_posix() if self._path.is_dir() else file.name


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _open_video(file: Path, *, where: str) -> cv2.VideoCapture:
    """Raises SourceError; the caller releases."""
    try:
        n_bytes = file.stat().st_size
    except OSError as error:
        raise SourceError(f"{where}: cannot be read: {error.strerror}") from error
    if n_bytes == 0:
        raise SourceError(f"{where}: expected a video or picture, got an empty file (0 bytes); record or copy it again")
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{where}: expected a video OpenCV can open, got {n_bytes} bytes it cannot; "
            "check that the recording is complete (an MP4 that was cut short has no index) and is a video at all"
        )
    return capture
