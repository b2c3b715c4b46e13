"""What every Sink does, the fake included."""

from __future__ import annotations

import base64
import contextlib
import resource
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from pipeline.errors import SinkError
from pipeline.interfaces import Sink
from pipeline.types import DeadLetter, Prediction
from tests.contracts.sink_benches import Bench, archive, archive_remote, mqtt, opcua
from tests.fakes import FakeClock, FakeSink
from tests.kafka_topics import read_topic
from tests.making import make_prediction, make_ref
from tests.outboxes import BACKOFF_CAP_S, OutboxBench, full_disk
from tests.servers.kafka import KafkaBroker
from workers.kafka.connection import KafkaConnection
from workers.kafka.packing import Packer, Topics
from workers.kafka.producer import ParcelProducer
from workers.outbox.store import Parcel
from workers.sinks.jsonl import JsonlSink
from workers.sinks.kafka import KafkaDestination, KafkaSink, TransactionalKafkaSink


def _fake(tmp_path: Path) -> Bench:
    sink = FakeSink()

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        sink.failures = 1
        yield
        sink.failures = 0

    return Bench(
        sink,
        read_ids=lambda: [one.ref.event_id for one in sink.delivered],
        read_dead=lambda: [(letter.reason, letter.original) for letter in sink.dead_letters],
        failing=failing,
    )


def _jsonl(tmp_path: Path) -> Bench:
    path = tmp_path / "results.jsonl"
    sink = JsonlSink(path, clock=FakeClock())

    def lines(file: Path) -> list[dict[str, str]]:
        return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))  # a batch that fits only in part
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def dead() -> list[tuple[str, bytes]]:
        found = lines(tmp_path / "results.jsonl.dead.jsonl")
        return [(one["reason"], base64.b64decode(one["original_base64"])) for one in found]

    return Bench(sink, read_ids=lambda: [one["event_id"] for one in lines(path)], read_dead=dead, failing=failing)


def _direct(tmp_path: Path) -> Bench:
    """An outbox whose destination is there."""
    return _outbox(tmp_path, away=False)


def _boxed(tmp_path: Path) -> Bench:
    """An outbox whose destination is away while the test writes."""
    return _outbox(tmp_path, away=True)


def _outbox(tmp_path: Path, *, away: bool) -> Bench:
    box = OutboxBench(tmp_path / "outbox.sqlite")
    box.destination.away = away

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        box.destination.away = True
        with full_disk():
            yield
        box.destination.away = away
        box.clock.advance(BACKOFF_CAP_S)

    def read(topic: str) -> list[Parcel]:
        if away:  # what the next start finds and sends
            box.sink.close()
            box.come_back()
            box.open().close()
        return [parcel for parcel in box.destination.received if parcel.topic == topic]

    return Bench(
        box.sink,
        read_ids=lambda: [parcel.event_id for parcel in read("results")],
        read_dead=lambda: [(dict(parcel.headers)["dlq_reason"].decode(), parcel.value) for parcel in read("dlq")],
        failing=failing,
    )


class _AwayPacker(Packer):
    """Packs for a topic that cannot be while `away`."""

    away = False

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        parcels = super().pack(outcome)
        return [replace(parcel, topic="no such topic") for parcel in parcels] if self.away else parcels


def _kafka(broker: KafkaBroker) -> Bench:
    """At least once."""
    return _on_topics(broker, transactional_id=None)


def _transactional(broker: KafkaBroker) -> Bench:
    """Exactly once."""
    return _on_topics(broker, transactional_id=f"contract-{uuid.uuid4().hex}")


def _on_topics(broker: KafkaBroker, *, transactional_id: str | None) -> Bench:
    topics = Topics(*(broker.new_topic(name) for name in ("results", "states", "dlq")))
    packer = _AwayPacker(topics=topics, line="contract", clock=FakeClock(), state_after=1000)
    connection = KafkaConnection(bootstrap=(broker.bootstrap,))
    producer = ParcelProducer(connection, max_message_bytes=1_000_000, transactional_id=transactional_id)
    sink: Sink = KafkaSink(KafkaDestination(packer, producer=producer))
    if transactional_id is not None:
        sink = TransactionalKafkaSink(
            packer, producer=producer, owns=lambda position: True, group=lambda: None, unfinished=lambda: ()
        )

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        packer.away = True
        yield
        packer.away = False

    def dead() -> list[tuple[str, bytes]]:
        read = read_topic(broker.bootstrap, topics.dead_letters)
        return [(one.headers["dlq_reason"].decode(), one.value) for one in read]

    def ids() -> list[str]:
        return [one.headers["ce_id"].decode() for one in read_topic(broker.bootstrap, topics.results)]

    return Bench(sink, read_ids=ids, read_dead=dead, failing=failing)


ON_FILES: list[Callable[[Path], Bench]] = [_fake, _jsonl, _direct, _boxed]
ON_NETWORKS: list[Callable[[Path], Bench]] = [mqtt, opcua, archive, archive_remote]
ON_TOPICS: list[Callable[[KafkaBroker], Bench]] = [_kafka, _transactional]


@pytest.fixture(params=[*ON_FILES, *ON_NETWORKS, *ON_TOPICS], ids=lambda make: make.__name__.strip("_"))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    given = request.getfixturevalue("kafka_broker") if request.param in ON_TOPICS else tmp_path
    made: Bench = request.param(given)
    yield made
    made.sink.close()
    made.end()


def _part(sequence: int) -> Prediction:
    """With a picture, for the sinks that keep it."""
    return replace(make_prediction(sequence), evidence=b"\xff\xd8\xff" + bytes([sequence]))


def _ids(*sequences: int) -> list[str]:
    return [f"cap-01-1-{sequence}-full" for sequence in sequences]


def test_it_is_a_sink_with_a_name(bench: Bench) -> None:
    assert isinstance(bench.sink, Sink)
    assert bench.sink.name


def test_a_delivery_is_there_in_order_when_deliver_returns(bench: Bench) -> None:
    bench.sink.deliver([_part(0), _part(1)])
    bench.sink.deliver([_part(2)])
    assert bench.read_ids() == _ids(0, 1, 2)


def test_an_empty_delivery_is_no_fault_and_writes_nothing(bench: Bench) -> None:
    bench.sink.deliver([])
    assert bench.read_ids() == []


def test_a_refused_delivery_raises_sink_error_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.sink.deliver([_part(0)])
    if bench.failing is None:
        pytest.skip("never refuses once it is open")
    with bench.failing(), pytest.raises(SinkError):
        bench.sink.deliver([_part(1), _part(2)])
    assert bench.read_ids() == _ids(0)


def test_a_sink_that_has_failed_takes_the_same_delivery_again(bench: Bench) -> None:
    if bench.failing is None:
        pytest.skip("never refuses once it is open")
    with bench.failing(), pytest.raises(SinkError):
        bench.sink.deliver([_part(0), _part(1)])
    bench.sink.deliver([_part(0), _part(1)])
    assert bench.read_ids() == _ids(0, 1)


def test_a_dead_letter_keeps_its_bytes_whatever_they_are(bench: Bench) -> None:
    original = bytes(range(256)) + b"\n\n"
    bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "not a JPEG \udcff", original, make_ref(3)))
    bench.sink.flush()
    assert bench.read_dead() == ([("undecodable", original)] if bench.keeps_dead else [])
    assert bench.read_ids() == []


def test_flush_may_be_called_at_any_time(bench: Bench) -> None:
    bench.sink.flush()
    bench.sink.deliver([_part(0)])
    bench.sink.flush()
    assert bench.read_ids() == _ids(0)


def test_closing_twice_is_fine_and_nothing_is_taken_afterwards(bench: Bench) -> None:
    bench.sink.deliver([_part(0)])
    bench.sink.close()
    bench.sink.close()
    with pytest.raises(SinkError):
        bench.sink.deliver([_part(1)])
    with pytest.raises(SinkError):
        bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "late", b"x", make_ref(1)))
    assert bench.read_ids() == _ids(0)
