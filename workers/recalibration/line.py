"""A process that only learns: decided batches in, another head out; with the status and shutdown of a line."""

from __future__ import annotations

from typing import Any

from pipeline.interfaces import Clock
from pipeline.types import Prediction
from workers.adaptation.carrying import Receiver
from workers.adaptation.loop import AdaptationLoop
from workers.adaptation.tap import Tap
from workers.captures import counts_as_json
from workers.ledger import Counts, Ledger
from workers.supervisor import Stage, Supervisor
from workers.tally import Tally, TallySummary


class RecalibrationLine:
    """Built stopped; used as a Line is."""

    def __init__(self, receiver: Receiver, *, loop: AdaptationLoop, tap: Tap, clock: Clock) -> None:
        self._receiver, self._loop, self._clock = receiver, loop, clock
        self._supervisor = Supervisor(
            [
                Stage("receive", [receiver.run], receiver.close, tap.close),
                Stage("adaptation", [loop.run], loop.close),
            ],
            clock=clock,
        )
        self._started_at = clock.monotonic()
        self._stopped_at: float | None = None

    def start(self) -> None:
        """Start all threads."""
        self._started_at = self._clock.monotonic()
        self._supervisor.start()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or sooner when a thread ended."""
        self._supervisor.wait(seconds)

    @property
    def finished(self) -> bool:
        """A thread has died; the topic itself never ends."""
        return self._supervisor.finished

    def stop(self, *, timeout_s: float) -> None:
        """Drain. Raises WorkerDied (with its cause) or ShutdownTimeout."""
        self._supervisor.drain(timeout_s=timeout_s)
        self._stopped_at = self._clock.monotonic()

    @property
    def n_parts(self) -> int:
        """Taken off the topic."""
        return self._receiver.n_parts

    @property
    def running_s(self) -> float:
        """Seconds from `start` to now, or to the end of `stop`."""
        return (self._stopped_at or self._clock.monotonic()) - self._started_at

    def last_result(self, source_id: str) -> Prediction | None:  # noqa: ARG002  # as a Line's
        """None: nothing is decided here."""
        return None

    def unhealthy(self) -> list[str]:
        """Why the process should be restarted; empty when it should not."""
        failure = self._supervisor.failure
        return [f"thread {failure[0]} died: {failure[1]!r}"] if failure else []

    def unready(self) -> list[str]:
        """Why nothing is learned although the process is sound; empty when it is."""
        return [self._receiver.failing] if self._receiver.failing else []

    def status(self) -> dict[str, Any]:
        """What /status says."""
        state = self._loop.state
        return {
            "running_s": round(self.running_s, 1),
            "sources": {},
            "total": counts_as_json(Ledger().total()),
            "parts": self.n_parts,
            "adaptation": {"state": state.state.value, "reason": state.reason, "head_version": state.champion},
        }

    def summary(self) -> tuple[Counts, TallySummary]:
        """Nothing was decided here."""
        return Ledger().total(), Tally().summary()
