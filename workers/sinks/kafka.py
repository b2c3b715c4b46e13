"""Results, states and dead letters to topics: at least once, or exactly once together with the offsets read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, FrameRef, Prediction
from workers.kafka.message import KafkaPosition
from workers.kafka.offsets import Partition
from workers.kafka.packing import Packer
from workers.kafka.producer import ParcelProducer
from workers.outbox_store import Parcel

Outcome = Prediction | DeadLetter


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

    A picture's regions go together, so the last regions of a batch may wait for the next one; their offset waits too,
    and a crash reads them again. What belongs to a partition that has left is left out: its new owner sends it.
    """

    name = "kafka"

    def __init__(
        self,
        packer: Packer,
        *,
        producer: ParcelProducer,
        owns: Callable[[KafkaPosition], bool],
        group: Callable[[], Any],
    ) -> None:
        """`owns` and `group` are the source's: whether a message is still ours, and the group as last seen."""
        self._packer, self._producer = packer, producer
        self._owns, self._group = owns, group
        self._held: list[Outcome] = []  # regions of a picture whose others are still to come
        self._in_doubt = False  # the last transaction failed, and may have gone through all the same
        self._closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """One transaction. Raises SinkError, then nothing of it is visible."""
        self._take(predictions)

    def dead_letter(self, letter: DeadLetter) -> None:
        """In a transaction with its offset."""
        self._take([letter])

    def flush(self) -> None:
        """What is held waits for its other regions, not for time."""

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
        ready, held = _whole_pictures([*self._held, *outcomes])
        group = self._group()  # before asking what is ours: should that change meanwhile, the broker refuses this group
        ours = self._not_yet_there([one for one in ready if self._is_ours(one.ref)], group=group)
        if ours:
            offsets = _offsets(ours)
            if offsets and group.generation_id < 0:  # a broker takes offsets of no generation from anybody
                raise SinkError("kafka: expected to be in the group that reads the frames, got expelled; joining again")
            parcels = [parcel for one in ours for parcel in self._packer.pack(one)]
            self._in_doubt = True
            self._producer.send_atomically(parcels, offsets=offsets, group=group)
        self._in_doubt = False
        self._held = held

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


def _whole_pictures(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Those whose picture is complete among them, and the others, both in order."""
    seen = Counter((one.ref.account, one.ref.number) for one in outcomes)
    ready: list[Outcome] = []
    held: list[Outcome] = []
    for one in outcomes:
        whole = seen[(one.ref.account, one.ref.number)] >= one.ref.n_regions
        (ready if whole else held).append(one)
    return ready, held


def _is_before(committed: Mapping[Partition, int], *, ref: FrameRef) -> bool:
    position = ref.position
    if not isinstance(position, KafkaPosition):
        return False
    return position.offset < committed.get((position.topic, position.partition), 0)


def _offsets(outcomes: Sequence[Outcome]) -> dict[Partition, int]:
    """One past the last message of each partition; outcomes come in the order they were read."""
    positions = [one.ref.position for one in outcomes]
    return {(p.topic, p.partition): p.offset + 1 for p in positions if isinstance(p, KafkaPosition)}
