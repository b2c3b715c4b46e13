"""Whatever happens in whatever order, an outbox keeps the order, and loses only its oldest, beyond its bounds."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.errors import SinkError
from pipeline.types import DeadLetter
from tests.making import make_prediction, make_ref
from tests.outboxes import BACKOFF_CAP_S, OutboxBench, full_disk

MAX_ROW_BYTES = 700  # of what the rules make


class Interleaving(RuleBasedStateMachine):
    """Deliveries, dead letters, outages, full disks, restarts and time passing."""

    max_bytes = 10**9
    max_age_s = 1e9

    def __init__(self) -> None:
        super().__init__()
        self.silence = structlog.testing.capture_logs()  # or where logs go would be a file too large, too
        self.silence.__enter__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "outbox.sqlite"
        self.bench = OutboxBench(path, max_bytes=self.max_bytes, max_age_s=self.max_age_s)
        self.taken: list[int] = []
        self.next = 0

    @rule(n=st.integers(0, 40), n_bytes=st.integers(0, 500))
    def deliver(self, n: int, n_bytes: int) -> None:
        self.bench.destination.n_bytes = n_bytes
        sequences = range(self.next, self.next + n)
        self.bench.deliver(*sequences)
        self.taken.extend(sequences)
        self.next += n

    @rule(original=st.binary(max_size=500))
    def dead_letter(self, original: bytes) -> None:
        ref = make_ref(self.next)
        self.bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "cut short", original, ref))
        self.taken.append(self.next)
        self.next += 1

    @precondition(lambda self: self.bench.destination.away)
    @rule()
    def deliver_with_the_disk_full(self) -> None:
        sequences = range(self.next, self.next + 40)
        self.bench.destination.n_bytes = 2000
        with full_disk(), pytest.raises(SinkError):
            self.bench.sink.deliver([make_prediction(sequence) for sequence in sequences])
        self.next += 40  # gone, and nobody was told otherwise

    @rule()
    def go_away(self) -> None:
        self.bench.destination.away = True

    @rule()
    def come_back(self) -> None:
        self.bench.destination.away = False

    @rule(seconds=st.sampled_from([0.1, BACKOFF_CAP_S, 60.0]))
    def wait(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)

    @rule(takes_s=st.sampled_from([0.0, 0.03, 0.2]))
    def flush(self, takes_s: float) -> None:
        self.bench.destination.takes_s = takes_s
        self.bench.sink.flush()
        self.bench.destination.takes_s = 0.0

    @rule()
    def restart(self) -> None:
        self.bench.restart()

    @invariant()
    def order_is_kept_and_everything_is_sent_or_waits_or_was_shed(self) -> None:
        received = self.received()
        assert all(before < after for before, after in itertools.pairwise(received))
        assert set(received) <= set(self.taken)
        assert len(received) + self.bench.sink.depth().n_rows + self.n_shed() == len(self.taken)

    @invariant()
    def bounds_are_kept_and_no_more_is_shed_than_they_ask(self) -> None:
        assert self.bench.sink.depth().n_bytes <= self.max_bytes
        for n, reason in self.bench.shed:
            assert n > 0
            assert reason in ("bytes", "age")

    def teardown(self) -> None:
        n_rows, n_received = self.bench.sink.depth().n_rows, len(self.received())
        self.bench.max_age_s = 1e9
        self.bench.restart()
        self.bench.come_back()
        for _ in range(100):
            self.bench.sink.flush()
        received = self.received()
        assert received[n_received:] == self.taken[len(self.taken) - n_rows :]
        self.bench.sink.close()
        self.folder.cleanup()
        self.silence.__exit__(None, None, None)

    def received(self) -> list[int]:
        return [int(event_id.split("-")[-2]) for event_id in self.bench.destination.event_ids]

    def n_shed(self) -> int:
        return sum(n for n, _ in self.bench.shed)


class Unbounded(Interleaving):
    """Within the bounds nothing is shed."""

    @invariant()
    def nothing_is_shed(self) -> None:
        assert self.bench.shed == []


class Bounded(Interleaving):
    """So small that every outage meets a bound."""

    max_bytes = 8000
    max_age_s = 100.0

    @rule(n=st.integers(30, 60))
    def deliver_more_than_fits(self, n: int) -> None:
        """What is shed for bytes is no more than needed."""
        n_before = len(self.bench.shed)
        self.deliver(n, 100)
        if any(reason == "bytes" for _, reason in self.bench.shed[n_before:]):
            assert self.bench.sink.depth().n_bytes > self.max_bytes - MAX_ROW_BYTES


TestUnbounded = Unbounded.TestCase
TestBounded = Bounded.TestCase
TestUnbounded.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
TestBounded.settings = TestUnbounded.settings
