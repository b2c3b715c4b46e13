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
from workers.running import Running
from workers.supervisor import Stage
from workers.tally import Tally, TallySummary


class RecalibrationLine(Running):
    """Built stopped; used as a Line is."""

    def __init__(self, receiver: Receiver, *, loop: AdaptationLoop, tap: Tap, clock: Clock) -> None:
        self._receiver, self._loop = receiver, loop
        super().__init__(
            [
                Stage("receive", [receiver.run], receiver.close, tap.close),
                Stage("adaptation", [loop.run], loop.close),
            ],
            clock=clock,
        )

    @property
    def n_parts(self) -> int:
        """Taken off the topic."""
        return self._receiver.n_parts

    def last_result(self, source_id: str) -> Prediction | None:  # noqa: ARG002  # as a Line's
        """None: nothing is decided here."""
        return None

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
