"""Results as JSON lines in a file, dead letters in another beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.sinks.event import letter_event, rfc3339, to_event, to_line
from workers.sinks.line_file import Fsync, LineFile

DEFAULT_ROTATE_BYTES = 64_000_000


class JsonlSink:
    """One JSON object per line, one write per `deliver`, so a crash tears at most the last line; opening repairs it.

    Dead letters go to `<path>.dead.jsonl` with their original bytes in base64. With fsync="interval" a quiet line
    leaves its last batch unsynced until `flush`: call that when idle.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        rotate_bytes: int = DEFAULT_ROTATE_BYTES,
        keep: int = 5,
        fsync: Fsync = "batch",
        fsync_interval_s: float = 1.0,
        name: str = "jsonl",
    ) -> None:
        self._path = path
        self._clock = clock
        self._name = name
        self._rotate_bytes, self._keep = rotate_bytes, keep
        self._fsync: Fsync = fsync
        self._fsync_interval_s = fsync_interval_s
        self._results = self._open(path)
        self._dead: LineFile | None = None  # opened by the first dead letter: most lines never have one
        self._closed = False

    @property
    def name(self) -> str:
        """Label in metrics."""
        return self._name

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Append one line each. Blocks for the disk with fsync="batch". Raises SinkError, then none is there."""
        offset = self._clock.utc() - self._clock.monotonic()
        lines = b"".join(to_line(to_event(prediction, clock_utc_offset=offset)) for prediction in predictions)
        if lines:
            self._results.append(lines)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Append the item with its bytes to `<path>.dead.jsonl`. Raises SinkError."""
        if self._closed:
            raise SinkError(f"{self._path}: expected an open sink, got a dead letter after close")
        if self._dead is None:
            self._dead = self._open(Path(f"{self._path}.dead.jsonl"))
        body = {**letter_event(letter), "time": rfc3339(self._clock.utc())}
        self._dead.append(to_line(body))

    def flush(self) -> None:
        """Force what was delivered to the disk, unless fsync is never. Raises SinkError."""
        self._results.sync()
        if self._dead is not None:
            self._dead.sync()

    def close(self) -> None:
        """Flush and release; may be called twice."""
        self._closed = True
        try:
            self._results.close()
        finally:
            if self._dead is not None:
                self._dead.close()

    def _open(self, path: Path) -> LineFile:
        return LineFile(
            path,
            clock=self._clock,
            rotate_bytes=self._rotate_bytes,
            keep=self._keep,
            fsync=self._fsync,
            fsync_interval_s=self._fsync_interval_s,
        )
