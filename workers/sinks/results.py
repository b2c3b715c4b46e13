"""Results for the Python program that runs the line: an iterator over predictions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence

from pipeline.types import DeadLetter, Prediction

MAX_BLOCK_S = 0.5


class ResultsSink:
    """Passes predictions to one iterating thread; lets them pass by until somebody iterates.

    From then on a slow reader holds the line back, as every sink does; `close` lets go of both.
    """

    name = "results"

    def __init__(self, *, capacity: int = 256) -> None:
        self._capacity = capacity
        self._queue: deque[Prediction] = deque()
        self._changed = threading.Condition()
        self._wanted = False
        self._closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Blocks while the reader is `capacity` predictions behind."""
        with self._changed:
            for one in predictions:
                while self._wanted and len(self._queue) >= self._capacity and not self._closed:
                    self._changed.wait(MAX_BLOCK_S)
                if self._wanted and not self._closed:
                    self._queue.append(one)
            self._changed.notify_all()

    def dead_letter(self, letter: DeadLetter) -> None:
        """Dead letters are for the durable sinks."""

    def flush(self) -> None:
        """Nothing is buffered on the way to a disk."""

    def close(self) -> None:
        """Ends the iteration after what was delivered; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def want(self) -> None:
        """Keep predictions from now on, for `__iter__`."""
        with self._changed:
            self._wanted = True

    def __iter__(self) -> Iterator[Prediction]:
        """Blocks for the next prediction; ends when the line has stopped."""
        self.want()
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait(MAX_BLOCK_S)
                if not self._queue:
                    return
                one = self._queue.popleft()
                self._changed.notify_all()
            yield one
