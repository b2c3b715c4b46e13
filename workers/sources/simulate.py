"""Frames from a simulated production line, with their truth, at the line's own speed or as fast as they are read."""

from __future__ import annotations

import math
import threading
from typing import Literal

from pipeline.errors import ConfigError, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Clock
from pipeline.simulation.line import SimulatedLine
from pipeline.types import SourceFrame

MAX_LATE_S = 0.5  # a reader later than this gets the present frame next, not a burst of old ones
READ_TIMEOUT_S = 0.5  # longest wait of one read: so long may `close` go unnoticed


class SimulateSource:
    """A camera over a `SimulatedLine`; what its script says goes wrong, goes wrong here.

    A line's time begins at the first `open` and runs on over reconnects, as a real one's does; as_fast has no time
    but that of the frames, so a dead camera is lost once and found again where it comes back.
    """

    def __init__(
        self,
        source_id: str,
        *,
        line: SimulatedLine,
        clock: Clock,
        speed: Literal["real_time", "as_fast"] = "real_time",
        n_frames: int | None = None,
    ) -> None:
        """`n_frames` ends the source after that many frames of the line; None: never."""
        if n_frames is not None and n_frames < 1:
            raise ConfigError(f"source {source_id}: n_frames must be 1 or more, got {n_frames}")
        self._source_id = source_id
        self._line = line
        self._clock = clock
        self._real_time = speed == "real_time"
        self._n_frames = n_frames
        self._closed = threading.Event()
        self._closed.set()
        self._began_at: float | None = None
        self._next = 0

    @property
    def source_id(self) -> str:
        """Names the source in every event and metric."""
        return self._source_id

    @property
    def live(self) -> bool:
        """True at the line's own speed: parts pass whether or not somebody looks."""
        return self._real_time

    def open(self) -> None:
        """Begin, or go on. Raises SourceUnavailable while the script says that the camera is dead."""
        if self._began_at is None:
            self._began_at = self._clock.monotonic()
        self._catch_up()
        if not self._ended:
            self._refuse_when_dead()
        self._closed.clear()

    def read(self) -> SourceFrame | None:
        """The next frame; in real time blocks until it is due, at most READ_TIMEOUT_S, then None.

        Raises SourceUnavailable when dead or not open, SourceExhausted after `n_frames`.
        """
        if self._closed.is_set():
            raise SourceUnavailable(f"source {self._source_id}: read needs an open source; call open first")
        skipped = self._catch_up()
        if self._ended:
            raise SourceExhausted(f"source {self._source_id}: all {self._n_frames} frames were read")
        self._refuse_when_dead()
        if self._real_time and not self._due():
            return None
        index, self._next = self._next, self._next + 1
        frame = self._line.render(index)
        return SourceFrame(
            image=frame.image,
            captured_at=self._clock.utc(),
            capture_time_source="simulated",
            received_at=self._clock.monotonic(),
            position=index,
            truth=frame.truth,
            disturbances=frame.disturbances,
            skipped=skipped,
            part=None if frame.part is None else str(frame.part),
        )

    def ack(self, position: object) -> None:
        """A simulated line needs no acknowledgement."""

    def close(self) -> None:
        """Stop; a waiting `read` ends within READ_TIMEOUT_S, or at once when the clock closes too."""
        self._closed.set()

    @property
    def _ended(self) -> bool:
        return self._n_frames is not None and self._next >= self._n_frames

    def _elapsed(self) -> float:
        return 0.0 if self._began_at is None else self._clock.monotonic() - self._began_at

    def _catch_up(self) -> int:
        """In real time, let the parts go that have passed long ago; returns how many of them were never shown."""
        if not self._real_time or self._elapsed() - self._line.time_of(self._next) <= MAX_LATE_S:
            return 0
        present = self._line.index_at(self._elapsed())
        passed, self._next = present - self._next, present
        return max(passed, 0)

    def _refuse_when_dead(self) -> None:
        back_s = self._line.dead_until(self._next)
        if back_s is None:
            return
        at_s = self._line.time_of(self._next)
        if not self._real_time and math.isfinite(back_s):
            self._next = self._line.index_at(back_s)
        elif not self._real_time and self._n_frames is not None:
            self._next = self._n_frames
        until = f"until {back_s:g} s" if math.isfinite(back_s) else "for good"
        raise SourceUnavailable(f"source {self._source_id}: the simulated camera is dead at {at_s:g} s, {until}")

    def _due(self) -> bool:
        """Wait for the next frame's moment; False when it has not come yet or the owner closes."""
        ahead = self._line.time_of(self._next) - self._elapsed()
        if ahead <= 0:
            return True
        woken = self._clock.wait(min(ahead, READ_TIMEOUT_S))
        return not woken and not self._closed.is_set() and ahead <= READ_TIMEOUT_S
