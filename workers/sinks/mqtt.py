"""Results, states and dead letters on the topics of an MQTT broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import orjson
import structlog

from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.mqtt.connection import Message, MqttConnection, MqttSession
from workers.outbox.sink import OutboxSink
from workers.outbox.store import Parcel
from workers.sinks.event import letter_event, printable, to_event
from workers.sinks.states import STATE_AFTER, Debouncer, state_event

log = structlog.get_logger()

HEADER_BYTES = 64  # of a message, beside topic and value
RETAIN = (("retain", b""),)


class MqttDestination:
    """`<prefix>/results/<camera>/<roi>`, `<prefix>/dead/<camera>`, and retained `<prefix>/states/<camera>/<roi>`.

    QoS 1: sent means acknowledged by the broker, in order; the same event always has the same id. What the broker can
    never take is put aside, and `on_refused(1)` told. One thread.
    """

    def __init__(
        self,
        connection: MqttConnection,
        *,
        prefix: str,
        clock: Clock,
        state_after: int = STATE_AFTER,
        on_refused: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Connects at the first `send`."""
        self._connection, self._prefix, self._clock = connection, prefix, clock
        self._debouncer = Debouncer(after=state_after)
        self._on_refused = on_refused
        self._session: MqttSession | None = None

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        """One message, two where a state changes."""
        ref, event_id = outcome.ref, printable(outcome.ref.event_id)
        if isinstance(outcome, DeadLetter):
            topic = self._topic("dead", outcome.source_id)
            return [Parcel(b"", orjson.dumps(letter_event(outcome)), (), topic, event_id)]
        region = ref.source_id, ref.roi_id
        body = to_event(outcome, clock_utc_offset=self._clock.utc() - self._clock.monotonic())
        value = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        parcels = [Parcel(b"", value, (), self._topic("results", *region), event_id)]
        before = self._debouncer.change(outcome)
        if before is not None:
            state = state_event(outcome, before=before, time=body["time"]["decided"])
            parcels.append(
                Parcel(b"", orjson.dumps(state), RETAIN, self._topic("states", *region), f"state-{event_id}")
            )
        return parcels

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Raises SinkError. Without parcels it only sees to the connection."""
        if self._session is None or not self._session.alive:
            self._release()
            self._session = self._connection.open()
        fitting: list[Parcel] = []
        refused: list[Parcel] = []
        for one in parcels:
            n_bytes = len(one.value) + len(one.topic) + HEADER_BYTES
            (fitting if n_bytes <= self._session.max_bytes else refused).append(one)
        try:
            never = self._session.publish([Message(one.topic, one.value, one.headers == RETAIN) for one in fitting])
        except BaseException:
            self._release()  # what it may still send would come behind what is sent again
            raise
        for one in (*refused, *(fitting[index] for index in never)):
            log.warning("mqtt broker refuses an event", broker=self._connection.shown, event_id=one.event_id)
            self._on_refused(1)

    def interrupt(self) -> None:
        """Nothing to cut short: each wait ends after the connection's time-out."""

    def close(self) -> None:
        """Say goodbye and release the connection; may be called twice."""
        self._release()

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _topic(self, kind: str, *levels: str) -> str:
        """Letters that mean something to MQTT are escaped as in a URL."""
        return "/".join([self._prefix, kind, *(quote(printable(level), safe="") for level in levels)])


class MqttSink(OutboxSink):
    """An outbox that sees to its connection while the line is quiet, so that the status on the broker is true."""

    def flush(self) -> None:
        """Drain, and connect again where the connection was lost."""
        super().flush()
        self.touch()
