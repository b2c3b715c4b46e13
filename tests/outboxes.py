"""An outbox between a test and a fake destination, which is away when the test says so."""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, Prediction
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.backoff import Backoff
from workers.outbox.sink import OutboxSink
from workers.outbox.store import Parcel

BACKOFF_CAP_S = 5.0


class FakeDestination:
    """Keeps what it is sent; each attempt takes `takes_s` of the clock, if there is one."""

    def __init__(self) -> None:
        self.clock: FakeClock | None = None
        self.n_bytes = 100  # of a prediction's value
        self.takes_s = 0.0
        self.away = False
        self.closed = False
        self.interrupted = False
        self.attempts: list[int] = []  # parcels in each
        self.received: list[Parcel] = []

    @property
    def event_ids(self) -> list[str]:
        return [parcel.event_id for parcel in self.received]

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        event_id, key = outcome.ref.event_id, outcome.ref.source_id.encode()
        if isinstance(outcome, DeadLetter):
            return [Parcel(key, outcome.original, (("dlq_reason", outcome.reason.encode()),), "dlq", event_id)]
        return [Parcel(key, bytes(self.n_bytes), (("ce_id", event_id.encode()),), "results", event_id)]

    def send(self, parcels: Sequence[Parcel]) -> None:
        self.attempts.append(len(parcels))
        if self.clock is not None:
            self.clock.advance(self.takes_s)
        if self.away:
            raise SinkError("expected a broker, got none, as the test says")
        self.received.extend(parcels)

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.closed = True


class FileDestination(FakeDestination):
    """One line per parcel in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("ab", buffering=0)

    def send(self, parcels: Sequence[Parcel]) -> None:
        super().send(parcels)
        for parcel in parcels:
            self._file.write(parcel.event_id.encode() + b"\n")
        self.received.clear()


class OutboxBench:
    """An outbox between a test and a fake destination."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 10_000_000,
        max_age_s: float = 1e9,
        destination: FakeDestination | None = None,
    ) -> None:
        self.path = path
        self.clock = FakeClock()
        self.destination = destination or FakeDestination()
        self.destination.clock = self.clock
        self.shed: list[tuple[int, str]] = []
        self.max_bytes, self.max_age_s = max_bytes, max_age_s
        self.sink = self.open()

    def open(self) -> OutboxSink:
        return OutboxSink(
            self.destination,
            path=self.path,
            max_bytes=self.max_bytes,
            max_age_s=self.max_age_s,
            clock=self.clock,
            backoff=Backoff(initial_s=0.5, cap_s=BACKOFF_CAP_S, rng=random.Random(0)),
            on_shed=lambda n, reason: self.shed.append((n, reason)),
        )

    def restart(self) -> None:
        self.sink.close()
        self.sink = self.open()

    def deliver(self, *sequences: int) -> None:
        self.sink.deliver([make_prediction(sequence) for sequence in sequences])

    def come_back(self) -> None:
        self.destination.away = False
        self.clock.advance(BACKOFF_CAP_S)


@contextlib.contextmanager
def full_disk(n_bytes: int = 4096) -> Iterator[None]:
    """No file grows beyond `n_bytes`; the log beside an outbox always has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ids(*sequences: int) -> list[str]:
    return [f"cap-01-1-{sequence}-full" for sequence in sequences]
