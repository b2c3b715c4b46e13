"""The thread that polls: it alone touches the client, so nothing the line does can keep it from its group."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector
from kafka.structs import MemberState, OffsetAndMetadata

from pipeline.interfaces import Clock
from workers.kafka.connection import KafkaConnection
from workers.kafka.offsets import OffsetBook, Partition
from workers.kafka.receiving import WideManager

log = structlog.get_logger()

POLL_MS = 100
JOIN_POLL_MS = 2_000  # while the group takes us in: a poll that ends before it has begins the joining anew
DRAIN_STEP_S = 0.02  # a rebalance looks so often whether the line has let go of what leaves
MAX_POLL_RECORDS = 256
FETCH_RATIO = 4  # a fetch brings at most this part of the buffer, so that the client itself holds little
PARTITION_FETCH_BYTES = 1 << 20  # of one partition at once; a single message may be larger
RECORD_BYTES = 1_000  # of a message beside its value, so that a flood of empty ones is bounded too
COMMIT_TIMEOUT_MS = 2_000
CLOSE_TIMEOUT_MS = 2_000

Observe = Callable[[str, float], None]  # (rebalances | commit_failures, 1), (lag, messages)


@dataclass(frozen=True, slots=True)
class ConsumerTerms:
    """How a group is read."""

    topic: str
    group: str
    start: str  # earliest | latest, where the group has no offset yet
    buffer_bytes: int  # fetched and not yet taken by the line; beyond it partitions are paused
    max_message_bytes: int
    commit_interval_s: float
    drain_s: float  # longest a rebalance waits for what is in flight
    session_timeout_s: float
    max_poll_interval_s: float
    commits: bool  # False: offsets go along with the results, in their transaction


@dataclass(frozen=True, slots=True)
class Fetched:
    """A record with the tenure it was fetched under."""

    record: Any  # kafka's ConsumerRecord
    partition: Partition
    tenure: int


class GroupConsumer:
    """Starts its thread at once. `take`, `close`, `leave` and the book may be used from any thread."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        terms: ConsumerTerms,
        clock: Clock,
        observe: Observe,
        tenures: Iterator[int],
    ) -> None:
        """Connects; raises the client's own error where it cannot. Blocks."""
        self.book = OffsetBook(numbers=tenures)
        self.failure: BaseException | None = None
        self._terms, self._clock, self._observe = terms, clock, observe
        self._buffer: deque[Fetched] = deque()
        self._n_bytes = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()  # no more records for the line
        self._leaving = threading.Event()
        self._commit_at = 0.0
        self._commits_fail = False
        self._client = _connected(connection, terms=terms)
        self._client.subscribe([terms.topic], listener=_Listener(self))
        self._thread = threading.Thread(target=self._run, name=f"kafka-poll-{terms.topic}", daemon=True)
        self._thread.start()

    @property
    def group_metadata(self) -> Any:
        """Who we are in the group at this moment, for transactions: a broker refuses those of an earlier moment."""
        return self._client.group_metadata()

    def take(self, *, timeout_s: float) -> Fetched | None:
        """The next record, handed out and so awaited by the book; None when none came. Raises what ended the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self.failure or self._closing.is_set(), timeout_s)
            while self._buffer and not self._closing.is_set():
                fetched = self._buffer.popleft()
                self._n_bytes -= _size(fetched.record)
                if self.book.hand_out(fetched.partition, tenure=fetched.tenure):
                    return fetched
            if self.failure is not None:
                raise self.failure
            return None

    def close(self) -> None:
        """No more records are handed out; the thread goes on to commit what ends. Quick."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def leave(self, *, timeout_s: float) -> None:
        """Commit what has ended, leave the group. Waits at most `timeout_s` for that, which goes on all the same."""
        self._leaving.set()
        self.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._leaving.is_set():
                self._poll()
            self._commit_now()
        except Exception as error:  # noqa: BLE001 - the client's own faults are cured by a new client as well
            self.failure = error
        finally:
            self._leaving.set()
            with self._changed:
                self._changed.notify_all()
            with contextlib.suppress(Exception):  # the group notices by its session time-out
                self._client.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _poll(self) -> None:
        self._apply_pauses()
        for topic_partition, records in self._client.poll_joining().items():
            partition = (topic_partition.topic, topic_partition.partition)
            tenure = self.book.arrived(partition, offset=records[0].offset)
            if tenure is None or self._closing.is_set():
                continue
            with self._changed:
                self._buffer.extend(Fetched(record, partition, tenure) for record in records)
                self._n_bytes += sum(map(_size, records))
                self._changed.notify_all()
        now = self._clock.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + self._terms.commit_interval_s
            self._observe("lag", self._lag())
            self._commit_soon()

    def _apply_pauses(self) -> None:
        """Above the bound nothing more is fetched; poll goes on, so the group keeps us."""
        assigned, paused = self._client.assignment(), self._client.paused()
        if self._closing.is_set() or self._n_bytes >= self._terms.buffer_bytes:
            if rest := assigned - paused:
                self._client.pause(*rest)
        elif paused and self._n_bytes <= self._terms.buffer_bytes // 2:
            self._client.resume(*paused)

    def _lag(self) -> float:
        total = 0
        for one in self._client.assignment():
            end, at = self._client.highwater(one), self.book.next_offset((one.topic, one.partition))
            total += 0 if end is None else max(0, end - (end if at is None else at))
        return float(total)

    def _commit_soon(self) -> None:
        due = self.book.due() if self._terms.commits else {}
        if due:
            self._client.commit_async(_offsets(due), callback=lambda _offsets, answer: self._committed(due, answer))

    def _committed(self, due: dict[Partition, int], answer: object) -> None:
        if isinstance(answer, Exception):
            self._commit_failed(answer)
        else:
            self._commits_fail = False
            self.book.committed(due)

    def _commit_now(self) -> None:
        due = self.book.due() if self._terms.commits else {}
        if not due:
            return
        try:
            self._client.commit(_offsets(due), timeout_ms=COMMIT_TIMEOUT_MS)
            self.book.committed(due)
        except KafkaError as error:
            self._commit_failed(error)

    def _commit_failed(self, error: Exception) -> None:
        """At least once: what is not committed is read again, by us or by the next owner."""
        self._observe("commit_failures", 1)
        if not self._commits_fail:
            log.warning("offsets not committed", group=self._terms.group, cause=str(error))
        self._commits_fail = True

    async def give_up(self, partitions: list[Partition]) -> None:
        """Before partitions leave: wait until the line has let go of them, and commit; heartbeats go on meanwhile."""
        self._observe("rebalances", 1)
        self._forget_buffered(set(partitions))
        give_up_at = self._clock.monotonic() + self._terms.drain_s
        try:
            while not self._leaving.is_set() and self._clock.monotonic() < give_up_at:
                if self.book.wait_drained(timeout_s=DRAIN_STEP_S, partitions=partitions):
                    break
                await self._client.commit_async({})  # of nothing: it gives the client's loop a turn
            due = self.book.due(partitions) if self._terms.commits and not self._leaving.is_set() else {}
            if due:
                await self._client.commit_async(_offsets(due))
        except KafkaError as error:
            self._commit_failed(error)
        self.book.revoke(partitions)

    def lose(self, partitions: list[Partition]) -> None:
        """The group has gone on without us."""
        self._observe("rebalances", 1)
        self._forget_buffered(set(partitions))
        self.book.revoke(partitions)

    def _forget_buffered(self, partitions: set[Partition]) -> None:
        """Nobody has seen these; the next owner reads them."""
        with self._changed:
            kept = [one for one in self._buffer if one.partition not in partitions]
            self._buffer = deque(kept)
            self._n_bytes = sum(_size(one.record) for one in kept)


class _JoiningConsumer(KafkaConsumer):  # type: ignore[misc]  # the client is untyped
    """The client (3.0.12) forgets a joining that outlasts a poll if new metadata began it; then nothing ever comes."""

    def poll_joining(self) -> dict[TopicPartition, list[Any]]:
        """Messages that have come, by partition."""
        state = self.group_metadata().state
        if state == MemberState.REBALANCING:
            self._coordinator.request_rejoin()
        records: dict[TopicPartition, list[Any]] = self.poll(POLL_MS if state == MemberState.STABLE else JOIN_POLL_MS)
        return records


def _connected(connection: KafkaConnection, *, terms: ConsumerTerms) -> _JoiningConsumer:
    """A client that has found a broker. Raises its errors; then none of its threads stays behind."""
    opened: list[KafkaNetClient] = []

    def network(**settings: Any) -> KafkaNetClient:
        net = NetworkSelector(**settings)
        opened.append(KafkaNetClient(net=net, manager=WideManager(net, **settings), **settings))
        return opened[-1]

    try:
        return _JoiningConsumer(
            **connection.kwargs(),
            kafka_client=network,
            group_id=terms.group,
            enable_auto_commit=False,
            auto_offset_reset=terms.start,
            allow_auto_create_topics=False,
            metrics_enabled=False,
            isolation_level="read_committed",
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            max_poll_records=MAX_POLL_RECORDS,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_bytes=max(PARTITION_FETCH_BYTES, terms.buffer_bytes // FETCH_RATIO),
            session_timeout_ms=int(terms.session_timeout_s * 1e3),
            heartbeat_interval_ms=int(terms.session_timeout_s * 1e3 / 6),
            max_poll_interval_ms=int(terms.max_poll_interval_s * 1e3),
        )
    except BaseException:
        for one in opened:
            one.close()
        raise


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # the client is untyped
    """Rebalances, as the client tells them."""

    def __init__(self, consumer: GroupConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.book.assign(_plain(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if partitions := _plain(revoked):
            await self._consumer.give_up(partitions)

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._consumer.lose(_plain(lost))


def _size(record: Any) -> int:
    return len(record.value or b"") + RECORD_BYTES


def _plain(partitions: Iterable[TopicPartition]) -> list[Partition]:
    return [(one.topic, one.partition) for one in partitions]


def _offsets(due: dict[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(*partition): OffsetAndMetadata(offset, "", -1) for partition, offset in due.items()}
