"""Adaptation over topics: alarms and heads go out, labels come in; a broker that is away holds up neither."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from pipeline.errors import ClearlineError, SinkError
from pipeline.interfaces import Clock
from workers.backoff import Backoff
from workers.kafka.connection import KafkaConnection
from workers.kafka.diagnose import why
from workers.kafka.producer import ParcelProducer
from workers.outbox.store import Parcel
from workers.sinks.event import rfc3339

log = structlog.get_logger()

WAITING = 1_000  # messages that wait for the broker; beyond it the oldest are given up
POLL_MS = 500
IDLE_S = 0.5
TYPES = {"drift": "clearline.drift.v1", "heads": "clearline.head.v1"}


class Announcer:
    """`announce` is called from any thread and never waits; a thread of its own sends."""

    def __init__(
        self, producer: ParcelProducer, *, topics: Mapping[str, str], line: str, clock: Clock, backoff: Backoff
    ) -> None:
        """`topics` by kind: drift and heads."""
        self._producer, self._topics, self._line = producer, topics, line
        self._clock, self._backoff = clock, backoff
        self._waiting: deque[Parcel] = deque(maxlen=WAITING)
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._thread.start()

    def announce(self, kind: str, told: Mapping[str, Any]) -> None:
        """One event on the topic of drift or of heads; heads are compacted by the line's name."""
        time = rfc3339(self._clock.utc())
        event_id = f"{self._line}-{kind}-{told.get('step', time)}"
        key = self._line if kind == "heads" else str(told.get("source_id", self._line))
        headers = {
            "ce_specversion": "1.0",
            "ce_type": TYPES[kind],
            "ce_source": f"/clearline/{self._line}",
            "ce_id": event_id,
            "ce_time": time,
            "content-type": "application/json",
        }
        parcel = Parcel(
            key=key.encode(),
            value=orjson.dumps({"schema_version": "1.0", "event_id": event_id, "time": time, **told}),
            headers=tuple((name, value.encode()) for name, value in headers.items()),
            topic=self._topics[kind],
            event_id=event_id,
        )
        with self._changed:
            self._waiting.append(parcel)
            self._changed.notify_all()

    def close(self, *, timeout_s: float) -> None:
        """Send what waits, as far as the broker takes it in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, IDLE_S)
                portion = list(self._waiting)
                if self._closing and not portion:
                    break
            if portion and not self._send(portion) and self._closing:
                break
        self._producer.close()

    def _send(self, portion: list[Parcel]) -> bool:
        try:
            self._producer.send(portion)
        except SinkError as error:
            delay_s = self._backoff.next_delay()
            log.warning("announcements wait for the broker", cause=str(error), n=len(portion))
            self._clock.wait(delay_s)
            return False
        self._backoff.reset()
        with self._changed:
            for _ in portion:
                if self._waiting:
                    self._waiting.popleft()
        return True


class LabelTopic:
    """Labels from their topic, written down by a thread of its own.

    Offsets are committed once the labels are written down: a crash reads them again, and the intake knows duplicates.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        topic: str,
        group: str,
        write_down: Callable[[Mapping[str, Any]], object],
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        """`write_down` is called by this thread, once per message."""
        self._connection, self._topic, self._group = connection, topic, group
        self._write_down, self._clock, self._backoff = write_down, clock, backoff
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="labels-topic", daemon=True)
        self._thread.start()

    def close(self, *, timeout_s: float) -> None:
        """Stop reading."""
        self._closing = True
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing:
            try:
                self._read()
            except (KafkaError, OSError, ClearlineError) as error:
                cause = str(error) if isinstance(error, ClearlineError) else why(self._connection, error)
                delay_s = self._backoff.next_delay()
                log.warning("labels topic lost", cause=cause, retry_in_s=round(delay_s, 2))
                self._clock.wait(delay_s)

    def _read(self) -> None:
        consumer = KafkaConsumer(
            self._topic,
            **self._connection.kwargs(),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )
        try:
            while not self._closing:
                records = [one for found in consumer.poll(timeout_ms=POLL_MS).values() for one in found]
                self._backoff.reset()
                for one in records:
                    self._write_down(_parsed(one.value))
                if records:
                    consumer.commit()
        finally:
            consumer.close(autocommit=False, timeout_ms=2_000)


def _parsed(value: bytes | None) -> Mapping[str, Any]:
    """What cannot be read goes to quarantine as it is."""
    try:
        content = json.loads(value or b"")
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {"unreadable": repr(value)[:500]}
