"""Sources for measuring: decoded frames from memory, endless or a number, at once or at given arrival times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import SourceExhausted
from pipeline.interfaces import Clock
from pipeline.types import SourceFrame, UInt8Array

START_DELAY_S = 0.2  # before the first arrival, so that all threads run when it comes


def even_gaps(*, rate: float) -> Iterator[float]:
    """Seconds between arrivals of a camera of `rate` frames/s."""
    while True:
        yield 1.0 / rate


def poisson_gaps(*, rate: float, seed: int) -> Iterator[float]:
    """Seconds between arrivals that know nothing of each other, `rate` frames/s on average."""
    rng = np.random.default_rng(seed)
    while True:
        yield float(rng.exponential(1.0 / rate))


class MemorySource:
    """Hands out pictures from memory in turn. `received_at` is when a frame was due, however late it was taken."""

    def __init__(
        self,
        source_id: str,
        *,
        images: Sequence[UInt8Array],
        clock: Clock,
        n: int | None = None,
        gaps_s: Iterator[float] | None = None,
    ) -> None:
        """`n` frames, or no end; `gaps_s` are the times between arrivals, without them a frame is always due."""
        self._source_id = source_id
        self._images = images
        self._clock = clock
        self._n = n
        self._gaps_s = gaps_s
        self._n_read = 0
        self._due_at = 0.0

    @property
    def source_id(self) -> str:
        """Names the source in every event and metric."""
        return self._source_id

    @property
    def live(self) -> bool:
        """False: nothing may be lost while measuring."""
        return False

    def open(self) -> None:
        """Begin the timetable."""
        self._due_at = self._clock.monotonic() + START_DELAY_S

    def read(self) -> SourceFrame | None:
        """The next frame when it is due; None when woken by the closing clock. Raises SourceExhausted after `n`."""
        if self._n_read == self._n:
            raise SourceExhausted(f"source {self._source_id}: all {self._n} frames were read")
        due_at = self._clock.monotonic()
        if self._gaps_s is not None:
            self._due_at += next(self._gaps_s)
            due_at = self._due_at
            if self._clock.wait(due_at - self._clock.monotonic()):
                return None
        index, self._n_read = self._n_read, self._n_read + 1
        return SourceFrame(
            image=self._images[index % len(self._images)],
            captured_at=self._clock.utc(),
            capture_time_source="host",
            received_at=due_at,
            position=index,
        )

    def ack(self, position: object) -> None:
        """Memory needs no acknowledgement."""

    def close(self) -> None:
        """Nothing to release; a wait ends with the clock."""
