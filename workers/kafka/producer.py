"""Parcels to topics, in order and durable, or one clear error; transactions where they are asked for."""

from __future__ import annotations

import contextlib
import math
import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFencedError,
)
from kafka.structs import OffsetAndMetadata

from pipeline.errors import SinkError
from workers.kafka.connection import KafkaConnection
from workers.kafka.diagnose import why
from workers.kafka.offsets import Partition
from workers.outbox.store import Parcel

log = structlog.get_logger()

CONNECT_S = 4.0  # until a send gives up finding a broker
DELIVERY_S = 8.0  # until a batch counts as not delivered
LOOK_S = 0.1  # a wait for the broker looks so often whether it was interrupted
TRANSACTION_S = 20.0  # for so long, and up to 10 s more, a dead worker whose name never comes again holds up readers
LINGER_MS = 20  # a send is flushed at once; until then its messages wait for each other, and travel together
BATCH_BYTES = 256 * 1024  # the client's 16 KB is less than one picture
TOO_LARGE_FACTOR = 4  # how far beyond the agreed size a message is tried: its topic decides what it takes
REQUEST_MAX_BYTES = 90_000_000  # a broker cuts the connection at 100 MB (socket.request.max.bytes)


class ParcelProducer:
    """One thread. Connects at the first send; after any failure it begins anew, so that nothing half sent lingers.

    `interrupt` may come from any thread: what is being sent then fails within `connect_s`, mostly at once.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        max_message_bytes: int,
        transactional_id: str | None = None,
        transaction_s: float = TRANSACTION_S,
        connect_s: float = CONNECT_S,
        delivery_s: float = DELIVERY_S,
    ) -> None:
        """A send takes at most about `connect_s` and `delivery_s` together."""
        self._connection = replace(connection, api_timeout_s=connect_s, request_timeout_s=connect_s)
        self._connect_s, self._delivery_s = connect_s, delivery_s
        self._max_request_bytes = min(TOO_LARGE_FACTOR * max_message_bytes, REQUEST_MAX_BYTES)
        self._transactional_id = transactional_id
        self._transaction_s = transaction_s
        self._client: _BoundedProducer | None = None
        self._interrupted = threading.Event()
        self._to_cut: set[str] = set()  # event ids that a topic has refused as too large, until they are through

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Return when every in-sync replica has all of them. Raises SinkError; some may be there then."""
        try:
            self._flush(self._opened(), parcels)
        except Exception as error:
            self._abandon()
            raise self._refused(error) from error
        self._to_cut.clear()

    def send_atomically(self, parcels: Sequence[Parcel], *, offsets: Mapping[Partition, int], group: Any) -> None:
        """All of them and the offsets in one transaction. Raises SinkError: then none, or, rarely, nobody knows.

        After a SinkError ask `committed` before trying again: the broker may have ended the transaction and died
        before it could say so.
        """
        try:
            client = self._opened()
            client.begin_transaction()
            self._flush(client, parcels)
            if offsets:
                at = {TopicPartition(*one): OffsetAndMetadata(offset, "", -1) for one, offset in offsets.items()}
                client.send_offsets_to_transaction(at, group)
            client.commit_transaction()
        except Exception as error:
            self._abort()
            if isinstance(error, ProducerFencedError | InvalidProducerEpochError):
                self._rename()
            raise self._refused(error) from error
        self._to_cut.clear()

    def take_over(self) -> None:
        """End what a killed process has left open under our transactional id: until then nobody reads its partitions.

        Raises SinkError.
        """
        try:
            self._opened()
        except Exception as error:
            self._abandon()
            raise self._refused(error) from error

    def committed(self, partitions: Collection[Partition], *, group_id: str) -> dict[Partition, int]:
        """The group's offsets, after whatever this producer's last transaction has come to. Raises SinkError."""
        try:
            self._opened()  # ends what its predecessor left open, and waits for it
            self._require_time()
            admin = KafkaAdminClient(**self._connection.kwargs())
            try:
                found = admin.list_group_offsets({group_id: [TopicPartition(*one) for one in partitions]})[group_id]
            finally:
                admin.close()
        except Exception as error:
            self._abandon()
            raise self._refused(error) from error
        return {(one.topic, one.partition): at.offset for one, at in found.items() if at.offset >= 0}

    def interrupt(self) -> None:
        """Nothing more can be sent from now on."""
        self._interrupted.set()

    def close(self) -> None:
        """Everything sent has been waited for already; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.end(timeout_s=0.0 if self._interrupted.is_set() else self._connect_s)

    def _flush(self, client: _BoundedProducer, parcels: Sequence[Parcel]) -> None:
        futures = [self._send_one(client, parcel) for parcel in parcels]
        client.flush_all(timeout_s=self._delivery_s + self._connect_s)
        failed = [(parcel, future) for parcel, future in zip(parcels, futures, strict=True) if not future.succeeded()]
        self._to_cut |= {
            parcel.event_id for parcel, future in failed if isinstance(future.exception, MessageSizeTooLargeError)
        }
        if failed:
            raise failed[0][1].exception or KafkaError("a record was neither acknowledged nor refused")

    def _send_one(self, client: KafkaProducer, parcel: Parcel) -> Any:
        key, headers = parcel.key or None, list(parcel.headers)
        if parcel.event_id not in self._to_cut:
            try:
                return client.send(parcel.topic, value=parcel.value, key=key, headers=headers)
            except MessageSizeTooLargeError:
                pass
        log.warning("message too large, sent without its bytes", event_id=parcel.event_id, n=len(parcel.value))
        headers.append(("dlq_cut_bytes", str(len(parcel.value)).encode()))
        return client.send(parcel.topic, value=b"", key=key, headers=headers)

    def _opened(self) -> _BoundedProducer:
        self._require_time()
        if self._client is None:
            client = _BoundedProducer(
                self._interrupted,
                **self._connection.kwargs(),
                acks="all",
                enable_idempotence=True,
                transactional_id=self._transactional_id,
                transaction_timeout_ms=int(self._transaction_s * 1e3),
                compression_type="lz4",
                allow_auto_create_topics=False,
                metrics_enabled=False,
                linger_ms=LINGER_MS,
                batch_size=BATCH_BYTES,
                delivery_timeout_ms=int(self._delivery_s * 1e3),
                max_block_ms=int(self._connect_s * 1e3),
                max_request_size=self._max_request_bytes,
            )
            self._client = client
            if self._transactional_id is not None:
                client.init_transactions()
        return self._client

    def _require_time(self) -> None:
        if self._interrupted.is_set():
            raise KafkaError("the line ends")

    def _refused(self, error: Exception) -> SinkError:
        if self._interrupted.is_set():
            return SinkError("kafka: not delivered before the line ended")
        return SinkError(f"kafka: {why(self._connection, error)}")

    def _abort(self) -> None:
        """Begin anew: the next producer of this id ends what this one left open."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # then the transaction is ended by the next producer, or by time
                self._client.abort_transaction()
        self._abandon()

    def _rename(self) -> None:
        """Somebody else has our transactional id: with one that nobody has, we do not end each other's for ever."""
        taken, self._transactional_id = self._transactional_id, f"{self._transactional_id}-{uuid.uuid4().hex[:8]}"
        log.warning("transactional id in use elsewhere", taken=taken, now=self._transactional_id)

    def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.end(timeout_s=0.0)


class _BoundedProducer(KafkaProducer):  # type: ignore[misc]  # the client is untyped
    """The client, which waits for ever for the end of a transaction, and does not close while a message is out."""

    def __init__(self, interrupted: threading.Event, **settings: Any) -> None:
        self._interrupted = interrupted
        super().__init__(**settings)

    def flush_all(self, *, timeout_s: float) -> None:
        """Return when all is out, the time is over, or the wait was interrupted: the futures tell."""
        for _ in range(math.ceil(timeout_s / LOOK_S)):
            with contextlib.suppress(KafkaTimeoutError):
                self.flush(timeout=LOOK_S)
                return
            if self._interrupted.is_set():
                return

    def init_transactions(self) -> None:
        self._await(self._transaction_manager.initialize_transactions())

    def send_offsets_to_transaction(self, offsets: Any, group_metadata: Any) -> None:
        self._await(self._transaction_manager.send_offsets_to_transaction(offsets, group_metadata))

    def commit_transaction(self) -> None:
        self._await(self._transaction_manager.begin_commit())

    def abort_transaction(self) -> None:
        self._await(self._transaction_manager.begin_abort())

    def end(self, *, timeout_s: float) -> None:
        """Close within about `timeout_s`, whatever is out; raises nothing."""
        try:
            self.close(timeout=timeout_s)
        except Exception as error:  # noqa: BLE001 - whatever hinders it, the thread must not stay behind
            log.debug("producer forced to close", cause=repr(error))
            self._sender.force_close()

    def _await(self, result: Any) -> None:
        self._sender.wakeup()
        for _ in range(math.ceil(self.config["delivery_timeout_ms"] / 1e3 / LOOK_S)):
            if result.wait(timeout_ms=LOOK_S * 1e3):
                return
            if self._interrupted.is_set():
                break
        raise KafkaTimeoutError("the transaction did not end in time")
