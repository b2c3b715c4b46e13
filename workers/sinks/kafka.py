"""Results, states and dead letters to topics: at least once, or exactly once together with the offsets read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, FrameRef, Prediction
from workers.kafka.message import KafkaPosition
from workers.kafka.offsets import Partition
from workers.kafka.packing import Packer
from workers.kafka.producer import ParcelProducer
from workers.outbox.store import Parcel

Outcome = Prediction | DeadLetter
Unfinished = Callable[[], Iterable[tuple[object, frozenset[str]]]]  # positions with their regions under way

MOST_HELD = 20_000  # results, without their pictures, that wait for a transaction to end behind them


class KafkaDestination:
    """What an outbox needs to know of Kafka. One thread."""

    def __init__(self, packer: Packer, *, producer: ParcelProducer) -> None:
        self._packer = packer
        self._producer = producer

    def pack(self, outcome: Outcome) -> list[Parcel]:
        """As the packer does."""
        return self._packer.pack(outcome)

    def send(self, parcels: Sequence[Parcel]) -> None:
        """In order; raises SinkError within about twelve seconds."""
        self._producer.send(parcels)

    def interrupt(self) -> None:
        """What is being sent fails soon."""
        self._producer.interrupt()

    def close(self) -> None:
        """Release the connection."""
        self._producer.close()


class KafkaSink:
    """At least once. A broker that is away holds up its line: right where the frames wait on Kafka too."""

    name = "kafka"

    def __init__(self, destination: KafkaDestination) -> None:
        self._destination = destination
        self._closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Return when every in-sync replica has them. Raises SinkError; some may be there then, with the same ids."""
        self._take(predictions)

    def dead_letter(self, letter: DeadLetter) -> None:
        """To the topic of dead letters, original bytes and key."""
        self._take([letter])

    def flush(self) -> None:
        """Nothing is buffered between two deliveries."""

    def interrupt(self) -> None:
        """What is being sent fails soon; its frames are not acknowledged."""
        self._destination.interrupt()

    def close(self) -> None:
        """Release the connection; may be called twice."""
        self._closed = True
        self._destination.close()

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        if self._closed:
            raise SinkError("kafka: expected an open sink, got a delivery after close")
        if outcomes:
            self._destination.send([parcel for one in outcomes for parcel in self._destination.pack(one)])


class TransactionalKafkaSink:
    """Exactly once for `read_committed` readers: results and the offsets they came from in one transaction.

    A transaction says that everything before an offset has come to an end, so it ends between two messages: what lies
    behind a picture with regions under way, or behind a frame of a part that is still open, waits for it, and so does
    its offset; a crash reads all of it again. What belongs to a partition that has left is left out: its new owner
    sends it.
    """

    name = "kafka"

    def __init__(
        self,
        packer: Packer,
        *,
        producer: ParcelProducer,
        owns: Callable[[KafkaPosition], bool],
        group: Callable[[], Any],
        unfinished: Unfinished,
    ) -> None:
        """`owns` and `group` are the source's: whether a message is still ours, and the group as last seen.

        `unfinished` is the ledger's, of that source.
        """
        self._packer, self._producer = packer, producer
        self._owns, self._group, self._unfinished = owns, group, unfinished
        self._held: list[Outcome] = []  # in the order they came
        self._in_doubt = False  # the last transaction failed, and may have gone through all the same
        self._closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """One transaction. Raises SinkError, then nothing of it is visible."""
        self._take(predictions)

    def dead_letter(self, letter: DeadLetter) -> None:
        """In a transaction with its offset."""
        self._take([letter])

    def flush(self) -> None:
        """Send what is held, where what it waited for has ended without a result."""
        if self._held and not self._closed:
            self._take([])

    def interrupt(self) -> None:
        """The transaction fails soon; its offsets are not committed."""
        self._producer.interrupt()

    def close(self) -> None:
        """Release the connection; what is held was never committed and will be read again."""
        self._closed = True
        self._producer.close()

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        if self._closed:
            raise SinkError("kafka: expected an open sink, got a delivery after close")
        ready, held = _cut([*self._held, *outcomes], missing=self._missing(outcomes))
        if len(held) > MOST_HELD:
            raise SinkError(
                f"kafka: expected a moment with no part open on a partition, got {len(held)} results "
                "that wait for it; give each camera a partition of its own, or use delivery: at_least_once"
            )
        group = self._group()  # before asking what is ours: should that change meanwhile, the broker refuses this group
        ours = self._not_yet_there([one for one in ready if all(map(self._is_ours, one.refs))], group=group)
        if ours:
            offsets = _offsets(ours)
            if offsets and group.generation_id < 0:  # a broker takes offsets of no generation from anybody
                raise SinkError("kafka: expected to be in the group that reads the frames, got expelled; joining again")
            parcels = [parcel for one in ours for parcel in self._packer.pack(one)]
            self._in_doubt = True
            self._producer.send_atomically(parcels, offsets=offsets, group=group)
        self._in_doubt = False
        self._held = [replace(one, evidence=None) if isinstance(one, Prediction) else one for one in held]

    def _missing(self, outcomes: Sequence[Outcome]) -> dict[Partition, float]:
        """Per partition the first offset with something under way that is not among `outcomes`."""
        here: dict[object, set[str]] = {}
        for ref in (ref for one in outcomes for ref in one.refs):
            here.setdefault(ref.position, set()).add(ref.roi_id)
        first: dict[Partition, float] = {}
        for position, regions in self._unfinished():
            if isinstance(position, KafkaPosition) and not regions <= here.get(position, set()):
                partition = (position.topic, position.partition)
                first[partition] = min(first.get(partition, math.inf), position.offset)
        return first

    def _is_ours(self, ref: FrameRef) -> bool:
        return not isinstance(ref.position, KafkaPosition) or self._owns(ref.position)

    def _not_yet_there(self, outcomes: list[Outcome], *, group: Any) -> list[Outcome]:
        """Without those whose offset is committed: their results went through in the transaction that seemed to fail.

        Whoever owns a partition is alone in committing to it, so nothing else can have moved its offset.
        """
        offsets = _offsets(outcomes)
        if not (self._in_doubt and offsets):
            return outcomes
        committed = self._producer.committed(offsets, group_id=group.group_id)
        return [one for one in outcomes if not _is_before(committed, ref=one.ref)]


def _cut(outcomes: Sequence[Outcome], *, missing: Mapping[Partition, float]) -> tuple[list[Outcome], list[Outcome]]:
    """Those that lie wholly before the first missing offset of their partition, and the others, both in order.

    What stays behind is missing too, so the cut moves until no part lies across it.
    """
    first, waits = dict(missing), [False] * len(outcomes)
    moved = True
    while moved:
        moved = False
        for n, one in enumerate(outcomes):
            if waits[n] or not any(p.offset >= first.get(at, math.inf) for at, p in _positions(one)):
                continue
            waits[n] = moved = True
            for at, position in _positions(one):
                first[at] = min(first.get(at, math.inf), position.offset)
    ready = [one for one, late in zip(outcomes, waits, strict=True) if not late]
    return ready, [one for one, late in zip(outcomes, waits, strict=True) if late]


def _positions(outcome: Outcome) -> list[tuple[Partition, KafkaPosition]]:
    positions = (ref.position for ref in outcome.refs)
    return [((p.topic, p.partition), p) for p in positions if isinstance(p, KafkaPosition)]


def _is_before(committed: Mapping[Partition, int], *, ref: FrameRef) -> bool:
    position = ref.position
    if not isinstance(position, KafkaPosition):
        return False
    return position.offset < committed.get((position.topic, position.partition), 0)


def _offsets(outcomes: Sequence[Outcome]) -> dict[Partition, int]:
    """One past the last message of each partition."""
    offsets: dict[Partition, int] = {}
    for at, position in (found for one in outcomes for found in _positions(one)):
        offsets[at] = max(offsets.get(at, 0), position.offset + 1)
    return offsets
