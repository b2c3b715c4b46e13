"""The newest verdict of every region for a PLC, on an OPC UA server of the line's own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, Decision, Prediction
from workers.opcua.nodes import Verdict
from workers.opcua.server import OpcUaServer
from workers.sinks.event import printable

REJECTS = frozenset({Decision.REJECT, Decision.REVIEW, Decision.UNKNOWN})


class OpcUaSink:
    """Delivered means written to the server, whoever reads it: a PLC wants the newest, and counts what it missed."""

    def __init__(self, server: OpcUaServer, *, reject_on: Collection[Decision] = REJECTS, name: str = "opcua") -> None:
        self.name = name
        self._server = server
        self._reject_on = frozenset(reject_on)
        self._closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Blocks for the server's event loop, never for a client. Raises SinkError."""
        self._demand_open()
        if predictions:
            self._server.show([self._verdict(one) for one in predictions])

    def dead_letter(self, _letter: DeadLetter) -> None:
        """A PLC has no use for it: the values of that camera grow stale."""
        self._demand_open()
        self._server.seen()

    def flush(self) -> None:
        """Nothing is buffered; the line lives."""
        self._server.seen()

    def close(self) -> None:
        """Everything turns bad, then the server ends; may be called twice."""
        self._closed = True
        self._server.close()

    def _verdict(self, one: Prediction) -> Verdict:
        ref = one.ref
        return Verdict(
            source_id=printable(ref.source_id),
            roi_id=printable(ref.roi_id),
            label=printable(one.label),
            reject=one.decision in self._reject_on,
            decision=one.decision.value,
            confidence=one.confidence,
            event_id=printable(ref.event_id),
            captured_at=ref.captured_at,
        )

    def _demand_open(self) -> None:
        if self._closed:
            raise SinkError(f"{self.name}: expected an open sink, got a delivery after close")
