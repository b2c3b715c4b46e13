"""The parts of a line that speak Kafka, against a real broker that refuses, dies, and comes back."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline.errors import BadFrame, SinkError, SourceUnavailable
from pipeline.types import DeadLetter, SourceFrame
from tests.fakes import FakeClock
from tests.kafka_faults import Load
from tests.kafka_lines import LineOptions, connection_to, line_between, topic_sink, topic_source
from tests.kafka_topics import Message, read_topic, write_topic
from tests.making import make_prediction, make_ref
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port
from workers.backoff import Backoff
from workers.clock import SystemClock
from workers.kafka.message import KafkaPosition
from workers.kafka.packing import Packer, Topics
from workers.kafka.producer import ParcelProducer
from workers.line import Line
from workers.outbox.sink import OutboxSink
from workers.sinks.kafka import KafkaDestination
from workers.sources.kafka import KafkaSource

WAIT_S = 60.0
N_OPENINGS = 3


@pytest.fixture
def options(kafka_broker: KafkaBroker) -> LineOptions:
    """Topics and a group of this test's own."""
    large = "10000000"
    return LineOptions(
        bootstrap=kafka_broker.bootstrap,
        frames=kafka_broker.new_topic("frames", n_partitions=2, max_message_bytes=large),
        results=kafka_broker.new_topic("results"),
        states=kafka_broker.new_topic("states"),
        letters=kafka_broker.new_topic("dlq", max_message_bytes=large),
        group=f"parts-{uuid.uuid4().hex[:8]}",
    )


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    made = SystemClock()
    yield made
    made.close()


def wait_for(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {WAIT_S} s"
        time.sleep(0.02)


def next_frame(source: KafkaSource) -> SourceFrame:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BadFrame):
            if (frame := source.read()) is not None:
                return frame
    raise AssertionError(f"no frame within {WAIT_S} s")


def results(options: LineOptions) -> list[str]:
    """The ids of all results, in order."""
    return [one.headers["ce_id"].decode() for one in read_topic(options.bootstrap, options.results)]


def started(options: LineOptions, *, clock: SystemClock) -> Line:
    """A running line between the topics."""
    source = topic_source(options, clock=clock)
    line = line_between(source, options=options, clock=clock)
    line.start()
    return line


def drained(box: OutboxSink) -> bool:
    box.flush()
    return box.depth().n_rows == 0


def kafka_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "kafka" in thread.name]


def test_a_source_without_a_broker_says_so_and_leaves_no_thread_behind(clock: SystemClock) -> None:
    nowhere = LineOptions(bootstrap=f"127.0.0.1:{free_port()}", frames="f", results="r", states="s", letters="l")
    source = topic_source(nowhere, clock=clock)
    source._connection = replace(source._connection, api_timeout_s=0.3)
    before = kafka_threads()
    for _ in range(N_OPENINGS):
        with pytest.raises(SourceUnavailable, match="got a refusal"):
            source.open()
    assert kafka_threads() == before


def test_a_slow_line_keeps_its_place_in_the_group(options: LineOptions, clock: SystemClock) -> None:
    seen: Counter[str] = Counter()
    source = topic_source(options, clock=clock)
    source._terms = replace(source._terms, max_poll_interval_s=1.0, session_timeout_s=0.6)
    source._observe = lambda what, value: seen.update({what: 1})
    load = Load(n_frames=2, seed=0)
    load.produce(options.bootstrap, options.frames)
    source.open()
    frame = next_frame(source)
    time.sleep(3.0)  # the encoder is at it
    source.ack(frame.position)
    next_frame(source)
    assert seen["rebalances"] == 0
    source.settle(timeout_s=5.0)


def test_what_was_acknowledged_last_is_committed_at_the_end(options: LineOptions, clock: SystemClock) -> None:
    Load(n_frames=40, seed=0).produce(options.bootstrap, options.frames)
    source = topic_source(options, clock=clock)
    source.open()
    first = [next_frame(source) for _ in range(15)]
    for frame in first[:-1]:
        source.ack(frame.position)
    source.close()
    source.ack(first[-1].position)
    source.settle(timeout_s=5.0)
    again = topic_source(options, clock=clock)
    again.open()
    rest = [next_frame(again) for _ in range(25)]
    names = [(one.origin.source_id, one.origin.sequence) for one in [*first, *rest] if one.origin is not None]
    assert len(set(names)) == 40
    again.settle(timeout_s=5.0)


def test_lag_and_refused_commits_are_told_and_reading_goes_on(
    kafka_broker: KafkaBroker, options: LineOptions, clock: SystemClock
) -> None:
    load = Load(n_frames=10, seed=0)
    load.produce(options.bootstrap, options.frames)
    told: list[tuple[str, float]] = []
    source = topic_source(options, clock=clock)
    source._observe = lambda what, value: told.append((what, value))
    source.open()
    first = next_frame(source)
    wait_for(lambda: ("lag", 10.0) in told, what="lag of all")
    kafka_broker.kill()
    source.ack(first.position)
    wait_for(lambda: ("commit_failures", 1) in told, what="refused commit")
    kafka_broker.start()
    for _ in range(9):
        source.ack(next_frame(source).position)
    wait_for(lambda: told[-1] == ("lag", 0.0), what="end of the lag")
    source.settle(timeout_s=5.0)


def test_the_buffer_of_a_source_is_bounded(options: LineOptions, clock: SystemClock) -> None:
    picture = Load(n_frames=1, seed=0).messages[0][1]
    padded = picture + bytes(50_000)
    write_topic(options.bootstrap, options.frames, [Message(b"cap-01", padded, {})] * 400)  # 20 MB
    source = topic_source(replace(options, buffer_bytes=1_000_000), clock=clock)
    source.open()
    next_frame(source)
    consumer = source._consumer
    assert consumer is not None
    wait_for(lambda: consumer._n_bytes >= 1_000_000, what="full buffer")
    time.sleep(1.0)
    assert consumer._n_bytes < 1_000_000 + 256 * 52_000
    source.settle(timeout_s=5.0)


def test_a_letter_too_large_for_its_topic_goes_without_its_bytes_and_says_so(
    kafka_broker: KafkaBroker, options: LineOptions, clock: SystemClock
) -> None:
    small = replace(options, letters=kafka_broker.new_topic("dlq", max_message_bytes="50000"))
    sink = topic_sink(small, source=None, clock=clock)
    letter = DeadLetter("cap-01", "too_large", "expected less", _noise(80_000), make_ref(1))
    with pytest.raises(SinkError, match="larger"):
        sink.dead_letter(letter)
    sink.dead_letter(letter)
    sink.dead_letter(replace(letter, original=b"small", ref=make_ref(2)))
    cut, whole = read_topic(options.bootstrap, small.letters)
    assert (cut.value, cut.headers["dlq_cut_bytes"]) == (b"", b"80000")
    assert (whole.value, "dlq_cut_bytes" in whole.headers) == (b"small", False)
    sink.close()


def test_a_transactional_producer_that_was_fenced_begins_anew_under_a_name_of_its_own(options: LineOptions) -> None:
    producers = [
        ParcelProducer(connection_to(options.bootstrap), max_message_bytes=1_000_000, transactional_id=options.group)
        for _ in range(2)
    ]
    packer = Packer(topics=Topics(options.results, options.states, options.letters), line="x", clock=FakeClock())
    parcels = [packer.pack(make_prediction(sequence))[0] for sequence in range(4)]
    producers[0].send_atomically(parcels[:1], offsets={}, group=None)
    producers[1].send_atomically(parcels[1:2], offsets={}, group=None)
    with pytest.raises(SinkError):
        producers[0].send_atomically(parcels[2:3], offsets={}, group=None)
    producers[0].send_atomically(parcels[2:3], offsets={}, group=None)
    producers[1].send_atomically(parcels[3:], offsets={}, group=None)  # and ends nobody else's transactions any more
    found = [one.headers["ce_id"].decode() for one in read_topic(options.bootstrap, options.results)]
    assert found == [parcel.event_id for parcel in parcels]
    for producer in producers:
        producer.close()


def test_what_a_killed_worker_left_open_does_not_hold_up_its_next_life(
    options: LineOptions, clock: SystemClock
) -> None:
    load = Load(n_frames=20, seed=0)
    load.produce(options.bootstrap, options.frames)
    options = replace(options, delivery="exactly_once", transactional_id=options.group, transaction_s=600.0)
    source = topic_source(options, clock=clock)
    source.open()
    frame = next_frame(source)
    assert isinstance(frame.position, KafkaPosition)
    killed = ParcelProducer(
        connection_to(options.bootstrap),
        max_message_bytes=1_000_000,
        transactional_id=options.group,
        transaction_s=600.0,
    )
    client = killed._opened()
    client.begin_transaction()
    client.send(options.results, b"half of it")
    partition = TopicPartition(frame.position.topic, frame.position.partition)
    client.send_offsets_to_transaction({partition: OffsetAndMetadata(1, "", -1)}, source.group_metadata)
    source.settle(timeout_s=5.0)
    line = started(options, clock=SystemClock())
    wait_for(lambda: set(results(options)) == set(load.good), what="result")  # ten minutes, if by time
    line.stop(timeout_s=20.0)
    killed.interrupt()
    killed.close()


def test_with_the_broker_away_the_outbox_is_bounded_and_sends_the_newest_when_it_is_back(
    kafka_broker: KafkaBroker, options: LineOptions, tmp_path: Path
) -> None:
    clock, shed = SystemClock(), Counter[str]()
    packer = Packer(
        topics=Topics(options.results, options.states, options.letters), line="x", clock=clock, state_after=1000
    )
    producer = ParcelProducer(
        connection_to(options.bootstrap), max_message_bytes=1_000_000, connect_s=0.5, delivery_s=1.0
    )
    box = OutboxSink(
        KafkaDestination(packer, producer=producer),
        path=tmp_path / "outbox.sqlite",
        max_bytes=200_000,
        max_age_s=3600.0,
        clock=clock,
        backoff=Backoff(initial_s=0.1, cap_s=0.5),
        on_shed=lambda n, reason: shed.update({reason: n}),
        name="kafka",
    )
    box.deliver([make_prediction(0)])
    kafka_broker.kill()
    for sequence in range(1, 601):
        box.deliver([make_prediction(sequence)])
        assert box.depth().n_bytes <= 200_000
    assert box.failing is not None
    assert set(shed) == {"bytes"}
    kafka_broker.start()
    wait_for(lambda: drained(box), what="empty outbox")
    found = [int(one.headers["ce_id"].split(b"-")[3]) for one in read_topic(options.bootstrap, options.results)]
    assert sorted(set(found)) == [0, *range(1 + shed["bytes"], 601)]
    assert list(dict.fromkeys(found)) == sorted(set(found))
    box.close()


def test_a_line_fed_by_a_topic_waits_for_the_broker_and_goes_on_by_itself(
    kafka_broker: KafkaBroker, options: LineOptions, clock: SystemClock
) -> None:
    load = Load(n_frames=1500, seed=0)
    load.produce(options.bootstrap, options.frames)
    options = replace(options, encoder_s=0.002, delivery="exactly_once", delivery_s=2.0, transactional_id=options.group)
    line = started(options, clock=clock)
    wait_for(lambda: line.ledger.total().delivered > 200, what="result")
    kafka_broker.kill()
    wait_for(lambda: bool(line.unready()), what="word that the sink refuses")
    assert line.ledger.total().dropped == {}
    kafka_broker.start()
    wait_for(lambda: set(results(options)) == set(load.good), what="rest of the results")
    line.stop(timeout_s=20.0)
    assert len(results(options)) == len(load.good)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_line_ends_in_time_with_the_broker_away_and_its_frames_stay_on_the_topic(
    kafka_broker: KafkaBroker, options: LineOptions, clock: SystemClock, delivery: str
) -> None:
    load = Load(n_frames=1000, seed=0)
    load.produce(options.bootstrap, options.frames)
    options = replace(options, encoder_s=0.002, delivery=delivery, transactional_id=options.group, delivery_s=60.0)
    line = started(options, clock=clock)
    wait_for(lambda: line.ledger.total().delivered > 100, what="result")
    kafka_broker.kill()
    line.stop(timeout_s=4.0)  # raises where a thread is late
    total = line.ledger.total()
    assert (total.error, total.in_flight) == (0, 0)
    kafka_broker.start()
    again = started(options, clock=SystemClock())
    wait_for(lambda: set(results(options)) == set(load.good), what="rest of the results")
    again.stop(timeout_s=20.0)
    if delivery == "exactly_once":
        assert len(results(options)) == len(load.good)


def _noise(n: int) -> bytes:

    return random.Random(0).randbytes(n)
