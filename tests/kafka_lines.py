"""A real line between two topics whose encoder is a fake: `python -m tests.kafka_lines '{...}'` runs it until SIGTERM.

The keys of the JSON are the fields of `LineOptions`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType

import numpy as np
import structlog

from pipeline.batcher import Batcher
from pipeline.decision import Decider, DecisionPolicy, HeadIdentity
from pipeline.encoders.ladder import BatchCost
from pipeline.interfaces import Sink, Source
from pipeline.parts import PartRule
from pipeline.types import Batch, Features, UInt8Array
from tests.fakes import FakeEncoder, FakeHead
from workers.captures import Feed
from workers.clock import SystemClock
from workers.kafka.connection import KafkaConnection, quiet_client_logs
from workers.kafka.consumer import ConsumerTerms
from workers.kafka.packing import Packer, Topics
from workers.kafka.producer import ParcelProducer
from workers.ledger import Ledger
from workers.line import Line
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics
from workers.part_decisions import PartsPlan
from workers.sinks.kafka import KafkaDestination, KafkaSink, TransactionalKafkaSink
from workers.sources.kafka import KafkaSource

SIDE = 4
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class LineOptions:
    """What a child process needs to know."""

    bootstrap: str
    frames: str  # topics
    results: str
    states: str
    letters: str
    group: str = "faults"
    delivery: str = "at_least_once"
    encoder_s: float = 0.0  # per image
    max_message_bytes: int = 100_000
    session_timeout_s: float = 1.5
    drain_s: float = 3.0
    transaction_s: float = 3.0
    delivery_s: float = 4.0
    transactional_id: str = "line"
    queue_frames: int = 64
    buffer_bytes: int = 2_000_000
    part_frames: int = 0  # frames of a part; 0: each frame is decided alone
    close_after_s: float = 1.0
    part_header: str = "part"
    send_every_s: float = 0.02


class PacedEncoder(FakeEncoder):
    """As the fake, and as slow as the test says: a device of its own works meanwhile."""

    def __init__(self, seconds_per_image: float) -> None:
        super().__init__(image_size=SIDE)
        self._seconds = seconds_per_image

    def encode(self, batch: Batch) -> Features:
        if self._seconds:
            time.sleep(self._seconds * batch.n_real)
        return super().encode(batch)


def corner(image: UInt8Array) -> UInt8Array:
    """A region's cut that costs nothing: (H, W, 3) BGR -> (S, S, 3) RGB."""
    return np.ascontiguousarray(image[:SIDE, :SIDE, ::-1])


def connection_to(bootstrap: str) -> KafkaConnection:
    """Open to everybody, with short time-outs."""
    return KafkaConnection(bootstrap=tuple(bootstrap.split(",")), request_timeout_s=10.0, api_timeout_s=5.0)


def topic_source(options: LineOptions, *, clock: SystemClock, source_id: str = "frames") -> KafkaSource:
    """A reader of the frames."""
    terms = ConsumerTerms(
        topic=options.frames,
        group=options.group,
        start="earliest",
        buffer_bytes=options.buffer_bytes,
        max_message_bytes=options.max_message_bytes,
        commit_interval_s=0.2,
        drain_s=options.drain_s,
        session_timeout_s=options.session_timeout_s,
        max_poll_interval_s=60.0,
        commits=options.delivery == "at_least_once",
    )
    return KafkaSource(
        source_id,
        connection=connection_to(options.bootstrap),
        terms=terms,
        clock=clock,
        observe=lambda what, value: None,
        part_header=options.part_header,
    )


def topic_sink(
    options: LineOptions,
    *,
    source: KafkaSource | None,
    clock: SystemClock,
    connection: KafkaConnection | None = None,
    ledger: Ledger | None = None,
) -> Sink:
    """A writer of results, states and dead letters; `ledger` for exactly once."""
    topics = Topics(results=options.results, states=options.states, dead_letters=options.letters)
    packer = Packer(topics=topics, line="faults", clock=clock)
    connection = connection or connection_to(options.bootstrap)
    if source is None or options.delivery != "exactly_once":
        producer = ParcelProducer(
            connection, max_message_bytes=options.max_message_bytes, connect_s=1.0, delivery_s=options.delivery_s
        )
        return KafkaSink(KafkaDestination(packer, producer=producer))
    assert ledger is not None
    first, producer = (
        ParcelProducer(
            connection,
            max_message_bytes=options.max_message_bytes,
            transactional_id=options.transactional_id,
            transaction_s=options.transaction_s,
            connect_s=1.0,
            delivery_s=options.delivery_s,
        )
        for _ in range(2)
    )
    source.before_first_join = partial(taken_over, first)
    return TransactionalKafkaSink(
        packer,
        producer=producer,
        owns=source.owns,
        group=lambda: source.group_metadata,
        unfinished=lambda: ledger.unfinished(source.source_id),
    )


def taken_over(producer: ParcelProducer) -> None:
    """As a worker does before it joins its group."""
    try:
        producer.take_over()
    finally:
        producer.close()


def fake_live_head() -> LiveHead:
    """Decides by the corner's colour, the same in every process."""
    head = FakeHead()
    policy = DecisionPolicy(good_classes=frozenset({"ok"}))
    identity = HeadIdentity("fake", 1, "ab", "fake")
    return LiveHead(head, Decider(classes=head.classes, temperature=1.0, policy=policy, identity=identity))


def parts_of(options: LineOptions) -> PartsPlan | None:
    """By the part header, for all cameras."""
    if not options.part_frames:
        return None
    rule = PartRule(max_frames=options.part_frames, close_after_s=options.close_after_s)
    return PartsPlan(
        rule_of=lambda ref: rule, on_part=lambda camera, reason: None, on_correlation=lambda camera, value: None
    )


def line_between(source: KafkaSource, *, options: LineOptions, clock: SystemClock) -> Line:
    """From the topic of frames to the topics of results."""
    ledger = Ledger()
    sink = topic_sink(options, source=source, clock=clock, ledger=ledger)
    return line_of(source, sinks=[sink], options=options, clock=clock, ledger=ledger)


def line_of(
    source: Source, *, sinks: list[Sink], options: LineOptions, clock: SystemClock, ledger: Ledger | None = None
) -> Line:
    """The line that a worker runs, with the fakes for encoder and head."""

    def cuts(_camera: str) -> Mapping[str, Callable[[UInt8Array], UInt8Array]]:
        return {"full": corner}

    feed = Feed(
        source=source,
        cuts=cuts,
        drop_oldest=False,
        queue_frames=options.queue_frames,
        backoff_initial_s=0.1,
        backoff_cap_s=1.0,
    )
    cost = BatchCost(a_s=0.001, b_s=max(options.encoder_s, 1e-5))
    return Line(
        feeds=[feed],
        encoder=PacedEncoder(options.encoder_s),
        live=fake_live_head(),
        batcher=Batcher(sizes=(1, 2, 4, 8, 16, 32), image_size=SIDE, max_wait_s=0.01, cost=cost),
        sinks=sinks,
        metrics=Metrics(clock=clock, version="test"),
        capture_clock=clock,
        queue_batches=32,
        publish_pace_s=options.send_every_s,
        ledger=ledger,
        parts=parts_of(options),
    )


def main() -> None:
    """Run until SIGTERM, say READY when running, and end with the balance as one JSON object."""
    options = LineOptions(**json.loads(sys.argv[1]))
    quiet_client_logs()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asked = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=asked.set).start()

    signal.signal(signal.SIGTERM, on_signal)
    clock = SystemClock()
    source = topic_source(options, clock=clock)
    line = line_between(source, options=options, clock=clock)
    line.start()
    print("READY", flush=True)
    while not asked.wait(0.1) and not line.finished:
        pass
    line.stop(timeout_s=STOP_S)
    total = line.summary()[0]
    print(json.dumps({"captured": total.captured, "delivered": total.delivered, "in_flight": total.in_flight}))


if __name__ == "__main__":
    main()
