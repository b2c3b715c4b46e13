"""What every process of ours runs: stages that are started once and drained once, and how long that took."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.interfaces import Clock
from workers.supervisor import Stage, Supervisor


class Running:
    """Built stopped. `start`, `wait` and `stop` belong to the owner's thread; everything else may be asked from any."""

    def __init__(self, stages: Sequence[Stage], *, clock: Clock) -> None:
        """`stages` in the order in which things flow."""
        self._supervisor = Supervisor(stages, clock=clock)
        self._run_clock = clock
        self._started_at = clock.monotonic()
        self._stopped_at: float | None = None

    def start(self) -> None:
        """Start all threads."""
        self._started_at = self._run_clock.monotonic()
        self._supervisor.start()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or sooner when a thread ended."""
        self._supervisor.wait(seconds)

    @property
    def finished(self) -> bool:
        """All sources have come to their end (a topic never does), or a thread has died."""
        return self._supervisor.finished

    def stop(self, *, timeout_s: float) -> None:
        """Drain in flow order. Raises WorkerDied (with its cause) or ShutdownTimeout."""
        self._supervisor.drain(timeout_s=timeout_s)
        self._stopped_at = self._run_clock.monotonic()

    @property
    def running_s(self) -> float:
        """Seconds from `start` to now, or to the end of `stop`."""
        return (self._stopped_at or self._run_clock.monotonic()) - self._started_at

    def unhealthy(self) -> list[str]:
        """Why the process should be restarted; empty when it should not."""
        failure = self._supervisor.failure
        return [f"thread {failure[0]} died: {failure[1]!r}"] if failure else []
