"""An archive that is far away: pictures wait in memory, up to a bound, for a thread that takes them there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.backoff import Backoff
from workers.clock import SystemClock
from workers.sinks.archive import ArchiveSink, Note

log = structlog.get_logger()

AT_ONCE = 16  # pictures that go in one transaction of the index
IDLE_S = 1.0
RETRY_S = (0.5, 30.0)  # first and longest wait before an archive that could not be opened is tried again
CLOSE_S = 3.0  # longest that a stop waits for what is under way

Wants = Callable[[Prediction], bool]


class ArchiveUploads:
    """Never holds a line up and never refuses: what finds the queue full is counted as missed.

    What waits when the process ends is lost, and counted where it ends in order. One thread calls everything.
    """

    def __init__(
        self,
        make: Callable[[Clock], ArchiveSink],
        *,
        wants: Wants,
        max_bytes: int,
        note: Note = lambda _what, _n, _why: None,
        close_s: float = CLOSE_S,
        name: str = "archive",
    ) -> None:
        """`make` is called in the thread, until it succeeds; waits on its clock end with `close`."""
        self.name = name
        self._make, self._wants, self._max_bytes, self._note, self._close_s = make, wants, max_bytes, note, close_s
        self._clock = SystemClock()
        self._changed = threading.Condition()
        self._queue: deque[Prediction] = deque()  # what is under way included
        self._n_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Only puts into the queue. Raises SinkError after `close`."""
        self._demand_open()
        wanted = [one for one in predictions if self._wants(one)]
        n_full = 0
        with self._changed:
            for one in wanted:
                n_bytes = len(one.evidence or b"")
                if self._n_bytes + n_bytes > self._max_bytes:
                    n_full += 1
                    continue
                self._queue.append(one)
                self._n_bytes += n_bytes
            self._changed.notify_all()
        if n_full:
            self._note("missed", n_full, "queue")
        if wanted:
            self._note("waiting", self._n_bytes, "")

    def dead_letter(self, _letter: DeadLetter) -> None:
        """Dead letters keep their bytes elsewhere."""
        self._demand_open()

    def flush(self) -> None:
        """The thread does not rest while something waits."""

    def close(self) -> None:
        """Wait a little for what is left, give up the rest and count it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._queue, self._close_s)
        self._clock.close()
        self._thread.join(self._close_s)
        with self._changed:
            n_left = len(self._queue)
            self._queue.clear()
        if n_left:
            log.warning("archive gives up pictures that had to wait", sink=self.name, n=n_left)
            self._note("missed", n_left, "queue")

    def _run(self) -> None:
        archive = self._opened()
        if archive is None:
            return
        try:
            while batch := self._next(archive):
                archive.deliver(batch)
                self._done(batch)
        finally:
            archive.close()

    def _opened(self) -> ArchiveSink | None:
        """None where the line ended first."""
        backoff, said = Backoff(initial_s=RETRY_S[0], cap_s=RETRY_S[1]), False
        while True:
            try:
                return self._make(self._clock)
            except SinkError as error:
                if not said:
                    log.warning("archive cannot be opened yet, pictures wait", sink=self.name, cause=str(error))
                said = True
                if self._clock.wait(backoff.next_delay()):
                    return None

    def _next(self, archive: ArchiveSink) -> list[Prediction]:
        """Some of the oldest; empty when closed and empty, or given up."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed, IDLE_S)
                if self._clock.wait(0.0) or (self._closed and not self._queue):
                    return []
                batch = [one for one, _ in zip(self._queue, range(AT_ONCE), strict=False)]
            if batch:
                return batch
            archive.flush()

    def _done(self, batch: Sequence[Prediction]) -> None:
        with self._changed:
            for one in batch:
                if self._queue and self._queue[0] is one:  # else `close` has given it up
                    self._queue.popleft()
                    self._n_bytes -= len(one.evidence or b"")
            self._changed.notify_all()
        self._note("waiting", self._n_bytes, "")

    def _demand_open(self) -> None:
        if self._closed:
            raise SinkError(f"{self.name}: expected an open archive, got a delivery after close")
