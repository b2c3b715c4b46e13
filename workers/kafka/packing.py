"""Outcomes as messages: results as CloudEvents in binary mode, states debounced, dead letters with bytes and origin."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Prediction
from workers.kafka.message import KafkaPosition
from workers.outbox.store import Parcel
from workers.sinks.event import printable, rfc3339, to_event
from workers.sinks.states import STATE_AFTER, Debouncer, state_event

RESULT_TYPE = "clearline.result.v1"
STATE_TYPE = "clearline.state.v1"

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Topics:
    """Where each kind of message goes."""

    results: str
    states: str
    dead_letters: str


class Packer:
    """The same outcome gives the same event ids, whoever packs it and however often. One thread."""

    def __init__(self, *, topics: Topics, line: str, clock: Clock, state_after: int = STATE_AFTER) -> None:
        self._topics = topics
        self._source = f"/clearline/{line}"
        self._clock = clock
        self._debouncer = Debouncer(after=state_after)
        self._worker = socket.gethostname()

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        """One message, two where a state changes."""
        if isinstance(outcome, DeadLetter):
            return [self._letter(outcome)]
        body = to_event(outcome, clock_utc_offset=self._clock.utc() - self._clock.monotonic())
        key, event_id = outcome.ref.source_id.encode(), outcome.ref.event_id
        headers = self._cloud(RESULT_TYPE, event_id=event_id, time=body["time"]["decided"])
        parcels = [_parcel(self._topics.results, key=key, value=_json(body), headers=headers, event_id=event_id)]
        before = self._debouncer.change(outcome)
        if before is not None:
            parcels.append(self._state(outcome, before=before, time=body["time"]["decided"]))
        return parcels

    def _state(self, now: Prediction, *, before: str, time: str) -> Parcel:
        ref, body = now.ref, state_event(now, before=before, time=time)
        event_id = str(body["event_id"])
        return _parcel(
            self._topics.states,
            key=f"{ref.source_id}/{ref.roi_id}".encode(),
            value=_json(body),
            headers=self._cloud(STATE_TYPE, event_id=event_id, time=time),
            event_id=event_id,
        )

    def _letter(self, letter: DeadLetter) -> Parcel:
        event_id = letter.ref.event_id
        told = {
            "dlq_reason": letter.reason,
            "dlq_message": printable(letter.message),
            "dlq_source": letter.source_id,
            "dlq_event_id": event_id,
            "dlq_time": rfc3339(self._clock.utc()),
            "dlq_worker": self._worker,
        }
        key: bytes = letter.source_id.encode()
        headers: Headers = ()
        if isinstance(position := letter.ref.position, KafkaPosition):
            told |= {
                "dlq_original_topic": position.topic,
                "dlq_original_partition": str(position.partition),
                "dlq_original_offset": str(position.offset),
                "dlq_original_timestamp": str(position.timestamp_ms),
            }
            key, headers = position.key or b"", position.headers
        own = tuple((name, value.encode("utf-8", "backslashreplace")) for name, value in told.items())
        kept = tuple(one for one in headers if one[0] not in told)
        return _parcel(
            self._topics.dead_letters, key=key, value=letter.original, headers=(*kept, *own), event_id=event_id
        )

    def _cloud(self, kind: str, *, event_id: str, time: str) -> Headers:
        """CloudEvents 1.0, Kafka protocol binding, binary content mode."""
        told = {
            "ce_specversion": "1.0",
            "ce_type": kind,
            "ce_source": self._source,
            "ce_id": event_id,
            "ce_time": time,
            "content-type": "application/json",
        }
        return tuple((name, value.encode()) for name, value in told.items())


def _parcel(topic: str, *, key: bytes, value: bytes, headers: Headers, event_id: str) -> Parcel:
    return Parcel(key=key, value=value, headers=headers, topic=topic, event_id=event_id)


_json: Callable[[object], bytes] = orjson.dumps
