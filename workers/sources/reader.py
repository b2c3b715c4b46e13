"""What a camera reader is: the part of a camera that differs between OpenCV, PyAV and HTTP MJPEG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline.interfaces import Clock
from pipeline.types import UInt8Array

MAX_SKIP = 250  # pictures let pass in one read: ten seconds at 25 per second, then something is read in any case


@dataclass(frozen=True, slots=True)
class Picture:
    """The newest picture a reader could get without waiting for another."""

    image: UInt8Array  # (H, W, 3) BGR
    evidence: bytes | None = None  # the JPEG it was decoded from
    stream_s: float | None = None  # the picture's own time, seconds, where the stream tells it
    captured_at: float | None = None  # UTC seconds by this machine's clock, where the reader knows better than "now"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the stream says about itself; empty or 0 where it does not."""

    reader: str  # opencv | pyav | mjpeg | aravis
    codec: str = ""
    fps: float = 0.0  # announced, not measured


@dataclass(frozen=True, slots=True)
class ReaderTerms:
    """What every reader is handed."""

    open_timeout_ms: int
    read_timeout_ms: int
    clock: Clock
    on_skip: Callable[[], None]  # called for each older picture that is let pass
    on_lost: Callable[[int], None]  # told how many pictures the camera made that never came, where it numbers them


class Reader(Protocol):
    """One connection. One thread calls all but `wake`.

    It tells of a picture let pass at once, because the one after it may be broken or never come, and the first must be
    accounted for all the same.
    """

    @property
    def info(self) -> StreamInfo:
        """Known after `open`."""
        ...

    def open(self) -> None:
        """Raises SourceUnavailable within about the open time-out."""
        ...

    def read(self) -> Picture | None:
        """None when none had to come. Raises BadFrame for one broken picture, SourceUnavailable for a lost stream."""
        ...

    def wake(self) -> None:
        """End a blocked `read` soon, where the transport allows it; any thread."""
        ...

    def close(self) -> None:
        """Release; may be called twice."""
        ...
