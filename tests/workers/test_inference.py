"""Inference decides every frame it can, sets poison aside, and dies only when the encoder itself is broken."""

from __future__ import annotations

from itertools import chain

import pytest

from pipeline.batcher import Batcher
from pipeline.decision import Decider, DecisionPolicy, HeadIdentity
from pipeline.encoders.ladder import BatchCost
from pipeline.types import Batch, DeadLetter, Features, Prediction
from tests.fakes import FakeClock, FakeEncoder, FakeHead, FakePipelinedEncoder
from tests.making import SIDE, make_frame, make_ref
from workers.capture import Item
from workers.channel import Channel
from workers.inference import Inference
from workers.ledger import Ledger
from workers.live_head import LiveHead
from workers.publish import Outcome


def live_head(version: int = 1, *, seed: int = 0) -> LiveHead:
    head = FakeHead(seed=seed)
    identity = HeadIdentity("fake", version, "ab", "fake")
    policy = DecisionPolicy(good_classes=frozenset({"ok"}))
    return LiveHead(head, Decider(classes=head.classes, temperature=1.0, policy=policy, identity=identity))


class Bench:
    """An inference worker fed and read by hand."""

    def __init__(self, *, encoder: FakeEncoder | None = None, sizes: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        clock = FakeClock()
        self.encoder = encoder or FakeEncoder(image_size=SIDE)
        self.frames: Channel[Item] = Channel(capacity=64, clock=clock)
        self.outcomes: Channel[list[Outcome]] = Channel(capacity=64, clock=clock)
        self.ledger = Ledger()
        self.ledger.register("cap-01", ack=lambda position: None)
        self.observed: list[Batch] = []
        self.inference = Inference(
            encoder=self.encoder,
            live=live_head(),
            batcher=Batcher(sizes=sizes, image_size=SIDE, max_wait_s=0.0, cost=BatchCost(0.01, 0.001)),
            frames=self.frames,
            outcomes=self.outcomes,
            ledger=self.ledger,
            clock=clock,
            observe=lambda batch, seconds: self.observed.append(batch),
        )

    def feed(self, *values: int) -> None:
        self.feed_from(0, *values)

    def feed_from(self, first: int, *values: int) -> None:
        for sequence, value in enumerate(values, start=first):
            frame = make_frame(sequence, value=value)
            self.ledger.captured((frame.ref,))
            self.frames.put(frame, lane="cap-01")

    def run(self) -> tuple[list[Prediction], list[DeadLetter]]:
        self.frames.close()
        self.inference.run()
        self.ended = list(chain.from_iterable(self.outcomes.take() if len(self.outcomes) else []))
        letters = [one for one in self.ended if isinstance(one, DeadLetter)]
        return [one for one in self.ended if isinstance(one, Prediction)], letters


def test_every_frame_is_decided_in_order() -> None:
    bench = Bench()
    bench.feed(*range(13))
    predictions, letters = bench.run()
    assert [one.ref.sequence for one in predictions] == list(range(13))
    assert letters == []
    assert bench.encoder.batch_sizes == [(8, 8), (8, 5)]
    assert [batch.n_real for batch in bench.observed] == [8, 5]


def test_a_device_of_its_own_has_two_batches_in_flight_and_results_stay_in_order() -> None:
    encoder = FakePipelinedEncoder(image_size=SIDE)
    bench = Bench(encoder=encoder, sizes=(1, 2))
    bench.feed(*range(9))
    predictions, _ = bench.run()
    assert [one.ref.sequence for one in predictions] == list(range(9))
    assert encoder.most_open == 2
    assert encoder.n_open == 0


def test_poison_in_flight_is_set_aside_too() -> None:
    bench = Bench(encoder=FakePipelinedEncoder(image_size=SIDE, poison=66), sizes=(1, 2))
    bench.feed(1, 66, 3, 4, 5)
    predictions, letters = bench.run()
    assert sorted(one.ref.sequence for one in predictions) == [0, 2, 3, 4]
    assert [letter.ref.sequence for letter in letters] == [1]


def test_padding_and_company_cannot_change_a_result() -> None:
    alone, crowd = Bench(sizes=(1,)), Bench(sizes=(8,))
    alone.feed(10, 20, 30)
    crowd.feed(10, 20, 30)
    for one, other in zip(alone.run()[0], crowd.run()[0], strict=True):
        assert one.label == other.label
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


def test_a_poisonous_frame_is_set_aside_and_its_neighbours_are_decided_once() -> None:
    bench = Bench(encoder=FakeEncoder(image_size=SIDE, poison=66))
    bench.feed(1, 2, 66, 3, 66, 4)
    predictions, letters = bench.run()
    assert sorted(one.ref.sequence for one in predictions) == [0, 1, 3, 5]
    assert sorted(letter.ref.sequence for letter in letters) == [2, 4]
    assert {letter.reason for letter in letters} == {"inference"}


class NanEncoder(FakeEncoder):
    """Gives no number for a picture of nines."""

    def encode(self, batch: Batch) -> Features:
        features = super().encode(batch)
        features.image[batch.pixels[:, 0, 0, 0] == 9] = float("nan")
        return features


def test_letters_and_poison_keep_their_place_among_the_results() -> None:
    bench = Bench(encoder=FakeEncoder(image_size=SIDE, poison=66))
    bench.feed(1, 2, 66, 4)
    lost = DeadLetter("cap-01", "undecodable", "cut short", b"", make_ref(4))
    bench.ledger.captured((lost.ref,))
    bench.frames.put(lost, lane="cap-01")
    bench.feed_from(5, 6, 7)
    bench.run()
    assert [one.ref.sequence for one in bench.ended] == list(range(7))
    assert [one.ref.sequence for one in bench.ended if isinstance(one, DeadLetter)] == [2, 4]


def test_letters_alone_pass_without_the_encoder() -> None:
    bench = Bench()
    lost = DeadLetter("cap-01", "undecodable", "cut short", b"", make_ref(0))
    bench.ledger.captured((lost.ref,))
    bench.frames.put(lost, lane="cap-01")
    predictions, letters = bench.run()
    assert (predictions, letters) == ([], [lost])
    assert bench.encoder.batch_sizes == []


def test_an_embedding_that_is_not_finite_is_set_aside() -> None:
    bench = Bench(encoder=NanEncoder(image_size=SIDE))
    bench.feed(1, 9, 2)
    predictions, letters = bench.run()
    assert sorted(one.ref.sequence for one in predictions) == [0, 2]
    assert "NaN" in letters[0].message


def test_a_broken_encoder_ends_the_worker_with_its_cause() -> None:
    bench = Bench()
    bench.feed(1, 2)
    bench.encoder.broken = True
    with pytest.raises(RuntimeError, match="device is gone"):
        bench.run()


def test_a_new_head_takes_over_between_two_batches_and_signs_its_results() -> None:
    bench = Bench(sizes=(1, 2))
    bench.feed(1, 2, 3, 4)
    observe = bench.observed.append

    def swap_after_first(batch: Batch, seconds: float) -> None:
        observe(batch)
        bench.inference.swap(live_head(2, seed=1))

    bench.inference._observe = swap_after_first
    predictions, _ = bench.run()
    assert [one.head_version for one in predictions] == [1, 1, 2, 2]


def test_results_that_nobody_takes_any_more_are_dropped_and_counted() -> None:
    bench = Bench()
    bench.feed(1, 2)
    bench.outcomes.close()
    bench.run()
    total = bench.ledger.total()
    assert (total.dropped, total.in_flight, total.error) == ({"shutdown": 2}, 0, 0)
