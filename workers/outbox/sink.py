"""A sink that never refuses while its disk works: what a destination cannot take now waits in a file, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.backoff import Backoff
from workers.outbox.store import Boxed, OutboxStore, Parcel

log = structlog.get_logger()

DRAIN_S = 0.1  # a call begins no further portion after it, so that the line goes on while a long outbox drains
PORTION_BYTES = 1_000_000  # sent at once; one parcel may be larger
FIRST_PORTION, LAST_PORTION = 16, 1024  # parcels: doubled while portions are quick, halved when they are slow
REST_RATIO = 4.0  # after an attempt that hung, rest that many times as long: the line has four fifths of the time


class Destination(Protocol):
    """Where parcels go. One thread calls it."""

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        """Encode one outcome; the same outcome always has the same event ids. Raises nothing, reaches for nothing."""
        ...

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Make all durable there, in order, then return. Raises SinkError when it cannot now: all come again later.

        Must return or raise within a few seconds. A parcel that it can never take (too large, say) is for it to put
        aside: raising for that would hold up everything behind it until `max_age_s`.
        """
        ...

    def interrupt(self) -> None:
        """From any thread: `send` is to end soon, and may fail from now on."""
        ...

    def close(self) -> None:
        """Release; may be called twice."""
        ...


class Depth(NamedTuple):
    """What waits in an outbox."""

    n_rows: int
    n_bytes: int
    oldest_age_s: float  # 0 when nothing waits


class OutboxSink:
    """Sends directly while nothing waits; else appends to the file, and drains it in order in later calls.

    At least once: a crash between sending a portion and deleting it from the file sends that portion (at most
    LAST_PORTION parcels) again, and so does an attempt that failed half way; the event ids are the same.

    Beyond `max_bytes` or `max_age_s` the oldest is shed and `on_shed(n, reason)` told: "bytes", "age", or "corrupt" for
    what was in a damaged file (1 where it cannot be counted). `max_bytes` counts parcels; the file takes a tenth
    more (up to twice as much where parcels are 6 to 16 kB), and the log beside it about 6 MB. One thread calls
    everything but `depth`, `failing` and `interrupt`, which any may ask.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        path: Path,
        max_bytes: int,
        max_age_s: float,
        clock: Clock,
        backoff: Backoff,
        on_shed: Callable[[int, str], None],
        name: str = "outbox",
    ) -> None:
        """Open the file, so that an unwritable path is known before the first frame. Raises SinkError."""
        self._destination = destination
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._utc_offset = clock.utc() - clock.monotonic()  # taken once: a clock set right later ages nothing at once
        self._backoff = backoff
        self._on_shed = on_shed
        self._name = name
        self._retry_at = clock.monotonic()
        self._portion = FIRST_PORTION
        self._n_shed = 0  # since something last began to wait
        self._closed = False
        self._interrupted = False
        self.failing: str | None = None  # what the destination said last, while it refuses
        self._store = OutboxStore(path, on_corrupt=lambda n: self._shed(1 if n is None else n, "corrupt"))
        if self._store.waiting.n_rows:
            log.info("outbox found parcels", sink=name, n_rows=self._store.waiting.n_rows)

    @property
    def name(self) -> str:
        """Label in metrics."""
        return self._name

    def depth(self) -> Depth:
        """What waits now; reads memory only."""
        n_rows, n_bytes, oldest_at = self._store.waiting
        return Depth(n_rows, n_bytes, 0.0 if oldest_at is None else max(0.0, self._now() - oldest_at))

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """To the destination, or to the file. Raises SinkError when neither takes them."""
        self._take(predictions)

    def dead_letter(self, letter: DeadLetter) -> None:
        """The same way, in the same order."""
        self._take([letter])

    def flush(self) -> None:
        """Drain for about DRAIN_S. A destination that is away is no fault here; a damaged file is: SinkError."""
        self._drain()
        if self._store.untidy and not self._store.waiting.n_rows:
            self._store.tidy()

    def interrupt(self) -> None:
        """Nothing more is sent: what comes goes to the file, and what is there waits for the next start."""
        self._interrupted = True
        self._destination.interrupt()

    def touch(self) -> None:
        """Send nothing, where nothing waits: for a destination that is to stay connected."""
        if not self._closed and not self._store.waiting.n_rows and self._may_try():
            self._send([])

    def close(self) -> None:
        """Drain once more, release file and destination; what still waits is found by the next start."""
        if self._closed:
            return
        self._closed = True
        try:
            self._drain()
        except SinkError as error:
            log.warning("outbox not drained", sink=self._name, cause=str(error))
        finally:
            if self._store.waiting.n_rows:
                log.warning("outbox keeps parcels", sink=self._name, n_rows=self._store.waiting.n_rows)
            self._store.close()
            self._destination.close()

    def _take(self, outcomes: Iterable[Prediction | DeadLetter]) -> None:
        if self._closed:
            raise SinkError(f"{self._name}: expected an open sink, got a delivery after close")
        parcels = [parcel for outcome in outcomes for parcel in self._destination.pack(outcome)]
        if not parcels:
            return
        self._drain()
        if not self._store.waiting.n_rows and self._may_try() and self._send(parcels):
            return
        n_shed = self._store.append(parcels, at=self._now(), max_bytes=self._max_bytes)
        self._shed(n_shed, "bytes")

    def _drain(self) -> None:
        """Portions from the oldest on, until nothing waits, the destination refuses, or DRAIN_S is over."""
        if not self._store.waiting.n_rows:
            return
        self._shed(self._store.expire(before=self._now() - self._max_age_s), "age")
        began_at = self._clock.monotonic()
        while self._store.waiting.n_rows and self._may_try() and self._clock.monotonic() - began_at < DRAIN_S:
            started_at = self._clock.monotonic()
            boxed = self._store.peek(n=self._portion, max_bytes=PORTION_BYTES)
            if not self._send([one.parcel for one in boxed]):
                return
            self._store.discard(boxed)
            self._adapt(boxed, took_s=self._clock.monotonic() - started_at)
        if not self._store.waiting.n_rows:
            log.info("outbox is empty again", sink=self._name, n_shed=self._n_shed)
            self._n_shed = 0
            self._store.tidy()

    def _adapt(self, boxed: Sequence[Boxed], *, took_s: float) -> None:
        if took_s > DRAIN_S / 2:
            self._portion = max(1, self._portion // 2)
        elif took_s < DRAIN_S / 4 and len(boxed) == self._portion:
            self._portion = min(LAST_PORTION, 2 * self._portion)

    def _send(self, parcels: Sequence[Parcel]) -> bool:
        """Whether the destination has them all."""
        started_at = self._clock.monotonic()
        try:
            self._destination.send(parcels)
        except SinkError as error:
            now = self._clock.monotonic()
            self._retry_at = now + max(self._backoff.next_delay(), REST_RATIO * (now - started_at))
            self._portion = FIRST_PORTION
            if self.failing is None:
                log.warning("destination is away, results wait on disk", sink=self._name, cause=str(error))
            self.failing = str(error)
            return False
        if self.failing is not None:
            log.info("destination is back", sink=self._name, n_waiting=self._store.waiting.n_rows)
        self.failing = None
        self._backoff.reset()
        return True

    def _may_try(self) -> bool:
        return not self._interrupted and self._clock.monotonic() >= self._retry_at

    def _now(self) -> float:
        """UTC as it was at the start, plus the time that passed since."""
        return self._clock.monotonic() + self._utc_offset

    def _shed(self, n: int, reason: str) -> None:
        if not n:
            return
        if not self._n_shed:
            log.warning("outbox sheds its oldest", sink=self._name, reason=reason, n=n)
        self._n_shed += n
        self._on_shed(n, reason)
