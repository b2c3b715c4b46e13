"""Parcels to topics, in order and durable, or one clear error; transactions where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.structs import OffsetAndMetadata

from pipeline.errors import SinkError
from workers.kafka.connection import KafkaConnection, why
from workers.kafka.offsets import Partition
from workers.outbox_store import Parcel

log = structlog.get_logger()

CONNECT_S = 4.0  # until a send gives up finding a broker
DELIVERY_S = 8.0  # until a batch counts as not delivered
TRANSACTION_S = 20.0  # a dead worker's open transaction holds up readers for so long


class ParcelProducer:
    """One thread. Connects at the first send; after any failure it begins anew, so that nothing half sent lingers."""

    def __init__(
        self, connection: KafkaConnection, *, max_message_bytes: int, transactional_id: str | None = None
    ) -> None:
        self._connection = replace(connection, api_timeout_s=CONNECT_S, request_timeout_s=CONNECT_S)
        self._max_message_bytes = max_message_bytes
        self._transactional_id = transactional_id
        self._client: KafkaProducer | None = None

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Return when every in-sync replica has all of them. Raises SinkError; some may be there then."""
        try:
            client = self._opened()
            self._flush(client, parcels)
        except (KafkaError, OSError) as error:
            self._abandon()
            raise SinkError(f"kafka: {why(self._connection, error)}") from error

    def send_atomically(self, parcels: Sequence[Parcel], *, offsets: Mapping[Partition, int], group: Any) -> None:
        """All of them and the offsets in one transaction, or none. Raises SinkError."""
        try:
            client = self._opened()
            client.begin_transaction()
            self._flush(client, parcels)
            if offsets:
                at = {TopicPartition(*one): OffsetAndMetadata(offset, "", -1) for one, offset in offsets.items()}
                client.send_offsets_to_transaction(at, group)
            client.commit_transaction()
        except (KafkaError, OSError) as error:
            self._abort()
            raise SinkError(f"kafka: {why(self._connection, error)}") from error

    def close(self) -> None:
        """Everything sent has been waited for already; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=CONNECT_S)

    def _flush(self, client: KafkaProducer, parcels: Sequence[Parcel]) -> None:
        futures = [self._send_one(client, parcel) for parcel in parcels]
        client.flush(timeout=DELIVERY_S + CONNECT_S)
        for future in futures:
            if not future.succeeded():
                raise future.exception or KafkaError("a record was neither acknowledged nor refused")

    def _send_one(self, client: KafkaProducer, parcel: Parcel) -> Any:
        try:
            return client.send(parcel.topic, value=parcel.value, key=parcel.key or None, headers=list(parcel.headers))
        except MessageSizeTooLargeError:
            log.warning("message too large, sent without its bytes", event_id=parcel.event_id, n=len(parcel.value))
            told = [*parcel.headers, ("dlq_cut_bytes", str(len(parcel.value)).encode())]
            return client.send(parcel.topic, value=b"", key=parcel.key or None, headers=told)

    def _opened(self) -> KafkaProducer:
        if self._client is None:
            client = KafkaProducer(
                **self._connection.kwargs(),
                acks="all",
                enable_idempotence=True,
                transactional_id=self._transactional_id,
                transaction_timeout_ms=int(TRANSACTION_S * 1e3),
                compression_type="lz4",
                allow_auto_create_topics=False,
                delivery_timeout_ms=int(DELIVERY_S * 1e3),
                max_block_ms=int(CONNECT_S * 1e3),
                max_request_size=self._max_message_bytes,
            )
            self._client = client
            if self._transactional_id is not None:
                client.init_transactions()
        return self._client

    def _abort(self) -> None:
        """Begin anew: the next producer of this id ends what this one left open."""
        if self._client is not None:
            try:
                self._client.abort_transaction()
            except (KafkaError, OSError):
                log.warning("transaction could not be aborted; the next one ends it")
        self._abandon()

    def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=0)
