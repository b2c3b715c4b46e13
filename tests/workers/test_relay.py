"""The capture worker's way to the topic: encoded, named, insisted on, counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from pipeline.errors import BadFrame, SinkError
from pipeline.types import DeadLetter, Frame
from tests.fakes import FakeClock
from tests.making import make_ref
from workers.backoff import Backoff
from workers.capture import Item
from workers.channel import Channel
from workers.kafka.message import KafkaPosition, read_frame
from workers.kafka.packing import Packer, Topics
from workers.ledger import Ledger
from workers.outbox.store import Parcel
from workers.relay.relay import MAX_FRAMES, Relay, jpeg_cut

PICTURE = np.full((32, 48, 3), (10, 120, 230), np.uint8)


@dataclass
class FakeProducer:
    """Keeps what it is sent; refuses first."""

    refuses: int = 0
    sent: list[list[Parcel]] = field(default_factory=list)
    closed: bool = False
    interrupted: bool = False

    def send(self, parcels: Sequence[Parcel]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise SinkError("away")
        self.sent.append(list(parcels))

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.closed = True


class Bench:
    """A relay fed by hand."""

    def __init__(self) -> None:
        self.clock, self.producer, self.ledger = FakeClock(), FakeProducer(), Ledger()
        self.acks: list[object] = []
        self.ledger.register("cap-01", ack=self.acks.append)
        self.frames: Channel[Item] = Channel(capacity=100, clock=self.clock)
        topics = Topics(results="r", states="s", dead_letters="dlq")
        self.relay = Relay(
            frames=self.frames,
            producer=self.producer,  # type: ignore[arg-type]
            packer=Packer(topics=topics, line="x", clock=self.clock),
            topic="frames",
            ledger=self.ledger,
            clock=self.clock,
            backoff=Backoff(initial_s=0.1, cap_s=1.0),
            on_sink=lambda sink, n, seconds: None,
        )

    def put(self, item: Item) -> None:
        self.ledger.captured((item.ref,))
        self.frames.put(item, lane="cap-01")

    def run(self) -> None:
        self.frames.close()
        self.relay.run()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def frame(sequence: int, *, evidence: bytes | None = None) -> Frame:
    return Frame(make_ref(sequence), jpeg_cut(90)(PICTURE), evidence)


def test_a_frame_on_the_topic_reads_as_the_camera_saw_it(bench: Bench) -> None:
    bench.put(frame(5))
    bench.run()
    [[parcel]] = bench.producer.sent
    assert (parcel.topic, parcel.key) == ("frames", b"cap-01")
    position = KafkaPosition("frames", 0, 0, 1, 0, parcel.key, parcel.headers)
    message = read_frame(parcel.value, position=position, where="", max_bytes=100_000)
    assert (message.origin.source_id, message.origin.epoch, message.origin.sequence) == ("cap-01", 1, 5)
    assert message.captured_at == make_ref(5).captured_at
    assert np.abs(message.image.astype(int) - PICTURE).max() < 8


def test_the_part_a_frame_shows_is_passed_on(bench: Bench) -> None:
    bench.put(replace(frame(5), ref=replace(make_ref(5), part="lot7-0001")))
    bench.put(frame(6))
    bench.run()
    [[with_part, without]] = bench.producer.sent
    assert dict(with_part.headers)["part"] == b"lot7-0001"
    assert "part" not in dict(without.headers)


def test_bytes_that_came_encoded_go_on_as_they_are(bench: Bench) -> None:
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    bench.put(frame(0, evidence=png))
    bench.run()
    [[parcel]] = bench.producer.sent
    assert parcel.value == png
    assert dict(parcel.headers)["content-type"] == b"image/png"


def test_order_is_kept_letters_included_and_all_is_acknowledged(bench: Bench) -> None:
    bench.put(frame(0))
    bench.put(DeadLetter("cap-01", "cut", "expected more", b"\xff\xd8", make_ref(1)))
    bench.put(frame(2))
    bench.run()
    assert [(one.topic, one.event_id) for batch in bench.producer.sent for one in batch] == [
        ("frames", "cap-01-1-0-full"),
        ("dlq", "cap-01-1-1-full"),
        ("frames", "cap-01-1-2-full"),
    ]
    assert bench.acks == [0, 1, 2]
    total = bench.ledger.total()
    assert (total.delivered, total.dead_lettered, total.error) == (2, {"cut": 1}, 0)
    assert bench.producer.closed


def test_a_send_takes_a_bounded_number(bench: Bench) -> None:
    for sequence in range(2 * MAX_FRAMES + 1):
        bench.put(frame(sequence))
    bench.run()
    assert [len(batch) for batch in bench.producer.sent] == [MAX_FRAMES, MAX_FRAMES, 1]


def test_a_refusal_is_answered_with_patience(bench: Bench) -> None:
    bench.producer.refuses = 3
    bench.put(frame(0))
    bench.run()
    assert len(bench.clock.waits) == 3
    assert bench.ledger.total().delivered == 1
    assert bench.relay.failing is None


def test_an_abandoned_relay_drops_and_counts_what_is_refused(bench: Bench) -> None:
    bench.producer.refuses = 1000
    for sequence in range(3):
        bench.put(frame(sequence))
    bench.relay.abandon()
    relay = threading.Thread(target=bench.run)
    relay.start()
    relay.join(10.0)
    total = bench.ledger.total()
    assert (total.dropped, total.error, bench.acks) == ({"undelivered": 3}, 0, [])
    assert bench.producer.interrupted


def test_a_picture_that_jpeg_cannot_hold_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame, match="70000"):
        jpeg_cut(90)(np.zeros((1, 70_000, 3), np.uint8))


def test_frames_of_another_epoch_keep_it(bench: Bench) -> None:
    one = frame(0)
    bench.put(replace(one, ref=replace(one.ref, epoch=99)))
    bench.run()
    assert dict(bench.producer.sent[0][0].headers)["epoch"] == b"99"
