"""Frames of one part end in one decision; every frame of it is accounted for, whatever happens to some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from pipeline.batcher import Batcher
from pipeline.encoders.ladder import BatchCost
from pipeline.parts import PartRule
from pipeline.types import Batch, DeadLetter, Features, Frame, FrameRef, Prediction, Scores
from tests.fakes import FakeClock, FakeEncoder, FakeHead, FakePipelinedEncoder, FakeSink
from tests.making import SIDE, make_frame
from tests.workers.test_inference import live_head
from workers.backoff import Backoff
from workers.capture import Item
from workers.channel import Channel
from workers.inference import Inference
from workers.ledger import Ledger
from workers.live_head import LiveHead
from workers.part_decisions import PartsPlan
from workers.publish import Outcome, Publish

RULE = PartRule(max_frames=3, close_after_s=1.0)


class Bench:
    """An inference worker whose camera cap-01 has parts, and cap-02 has none."""

    def __init__(
        self, *, encoder: FakeEncoder | None = None, rule: PartRule = RULE, sizes: tuple[int, ...] = (1, 2, 4, 8)
    ) -> None:
        self.clock = FakeClock()
        self.encoder = encoder or FakeEncoder(image_size=SIDE)
        self.frames: Channel[Item] = Channel(capacity=64, clock=self.clock)
        self.outcomes: Channel[list[Outcome]] = Channel(capacity=64, clock=self.clock)
        self.ledger = Ledger()
        self.acks: list[object] = []
        for camera in ("cap-01", "cap-02"):
            self.ledger.register(camera, ack=self.acks.append)
        self.seen: list[tuple[Batch, Features, Scores, Sequence[Prediction]]] = []
        self.closed: list[tuple[str, str]] = []
        self.correlations: list[float] = []
        self.n = 0
        self.inference = Inference(
            encoder=self.encoder,
            live=live_head(),
            batcher=Batcher(sizes=sizes, image_size=SIDE, max_wait_s=0.0, cost=BatchCost(0.01, 0.001)),
            frames=self.frames,
            outcomes=self.outcomes,
            ledger=self.ledger,
            clock=self.clock,
            observe=lambda batch, seconds: None,
            tap=lambda batch, features, scores, made, live: self.seen.append((batch, features, scores, made)),
            parts=PartsPlan(
                rule_of=lambda ref: rule if ref.source_id == "cap-01" else None,
                on_part=lambda camera, reason: self.closed.append((camera, reason)),
                on_correlation=lambda camera, value: self.correlations.append(value),
            ),
        )

    def feed(self, *frames: tuple[int, str | None], camera: str = "cap-01", at: float = 0.0) -> None:
        """Each is a grey value and a part id; `at` is when it was received, seconds."""
        for value, part in frames:
            made = make_frame(self.n, source_id=camera, value=value)
            frame = Frame(replace(made.ref, part=part, received_at=1000.0 + at), made.image, f"jpeg {self.n}".encode())
            self.n += 1
            self.ledger.captured((frame.ref,))
            self.frames.put(frame, lane=camera)

    def run(self) -> list[Outcome]:
        self.frames.close()
        self.inference.run()
        return list(chain.from_iterable(self.outcomes.take() if len(self.outcomes) else []))

    def publish(self) -> FakeSink:
        """Hand the outcomes on to a sink, and check the balance."""
        sink = FakeSink()
        publish = Publish(
            outcomes=self.outcomes,
            sinks=[sink],
            ledger=self.ledger,
            clock=self.clock,
            backoff=lambda: Backoff(initial_s=0.1, cap_s=1.0),
            on_delivered=lambda made: None,
            on_sink=lambda name, n, seconds: None,
        )
        self.frames.close()
        self.inference.run()
        self.outcomes.close()
        publish.run()
        assert self.ledger.total().error == 0
        assert self.ledger.total().in_flight == 0
        return sink


def members_of(outcomes: Sequence[Outcome]) -> list[tuple[str | None, list[int]]]:
    return [(one.ref.part, [ref.sequence for ref in one.refs]) for one in outcomes]


def test_a_part_of_three_frames_is_one_decision_named_after_the_first() -> None:
    bench = Bench()
    bench.feed((1, "a"), (2, "a"), (3, "a"), (4, "b"))
    one, other = bench.run()
    assert members_of([one, other]) == [("a", [0, 1, 2]), ("b", [3])]
    assert one.ref.event_id == "cap-01-1-0-full"
    assert bench.closed == [("cap-01", "full"), ("cap-01", "drain")]


def test_a_part_does_not_depend_on_how_its_frames_were_batched() -> None:
    made = []
    for sizes, encoder in (((1,), None), ((8,), None), ((1, 2), FakePipelinedEncoder(image_size=SIDE))):
        bench = Bench(sizes=sizes, encoder=encoder)
        bench.feed((1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "b"))
        made.append([one for one in bench.run() if isinstance(one, Prediction)])
    for other in made[1:]:
        assert members_of(other) == members_of(made[0])
        for left, right in zip(made[0], other, strict=True):
            assert left.label == right.label
            assert left.probabilities == pytest.approx(right.probabilities, abs=1e-6)


def test_a_part_of_one_frame_is_decided_as_that_frame_alone() -> None:
    bench = Bench()
    bench.feed((7, None), (9, "a"))
    bench.feed((7, None), (9, None), camera="cap-02")
    own: dict[str, list[Prediction]] = {"cap-01": [], "cap-02": []}
    for one in bench.run():
        assert isinstance(one, Prediction)
        own[one.ref.source_id].append(one)
    for fused, alone in zip(own["cap-01"], own["cap-02"], strict=True):
        assert (fused.label, fused.decision) == (alone.label, alone.decision)
        assert fused.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
        assert fused.confusion == alone.confusion


def test_independent_frames_make_a_part_surer_and_equal_ones_do_not() -> None:
    confidence = {}
    for rho in (0.0, 1.0):
        bench = Bench(rule=replace(RULE, correlation=rho))
        bench.feed((9, "a"), (9, "a"), (9, "a"))
        [one] = bench.run()
        assert isinstance(one, Prediction)
        confidence[rho] = one.confidence
    bench = Bench()
    bench.feed((9, None), camera="cap-02")
    [alone] = bench.run()
    assert isinstance(alone, Prediction)
    assert confidence[1.0] == pytest.approx(alone.confidence, abs=1e-6)
    odds = alone.confidence / (1 - alone.confidence)
    assert confidence[0.0] / (1 - confidence[0.0]) == pytest.approx(odds**3, rel=1e-3)


def test_cameras_without_parts_go_on_beside_them_in_their_order() -> None:
    bench = Bench()
    for value in range(4):
        bench.feed((value, "a" if value < 2 else "b"))
        bench.feed((value, None), camera="cap-02")
    made = bench.run()
    assert [one.ref.sequence for one in made if one.ref.source_id == "cap-02"] == [1, 3, 5, 7]
    assert members_of([one for one in made if one.ref.source_id == "cap-01"]) == [("a", [0, 2]), ("b", [4, 6])]


def test_every_frame_of_a_part_is_delivered_and_acknowledged_with_it_and_a_late_one_is_dropped() -> None:
    bench = Bench()
    bench.feed((1, "a"), (2, "b"), (3, "a"), (4, "b"))
    sink = bench.publish()
    assert members_of(sink.delivered) == [("a", [0]), ("b", [1, 3])]
    total = bench.ledger.total()
    assert (total.captured, total.delivered, total.dropped) == (4, 3, {"late_part": 1})
    assert bench.acks == [0, 1, 2, 3]


def test_poison_is_set_aside_alone_and_its_part_goes_on_without_it() -> None:
    bench = Bench(encoder=FakeEncoder(image_size=SIDE, poison=66))
    bench.feed((1, "a"), (66, "a"), (3, "a"), (4, "b"))
    sink = bench.publish()
    assert members_of(sink.delivered) == [("a", [0, 2]), ("b", [3])]
    assert [letter.original for letter in sink.dead_letters] == [b"jpeg 1"]
    assert bench.acks == [0, 1, 2, 3]


class PickyHead(FakeHead):
    """Fails where a part's bright picture is among the rows."""

    def __init__(self, bright: Features) -> None:
        super().__init__()
        self._bright = bright.image[0]

    def score(self, features: Features) -> Scores:
        if np.isclose(features.image, self._bright, atol=1e-4).all(axis=1).any():
            raise RuntimeError("no score")
        return super().score(features)


def test_a_part_that_the_head_fails_on_is_set_aside_with_all_its_frames() -> None:
    bench = Bench()
    bright = make_frame(value=200)
    batcher = Batcher(sizes=(1,), image_size=SIDE, max_wait_s=0.0, cost=BatchCost(0.01, 0.001))
    head = PickyHead(bench.encoder.encode(batcher.fill([bright], now=0.0)))
    bench.inference.swap(LiveHead(head, live_head().decider))
    bench.feed((1, "a"), (200, "b"), (2, "b"), (3, "c"))
    sink = bench.publish()
    assert members_of(sink.delivered) == [("a", [0]), ("c", [3])]
    assert [letter.original for letter in sink.dead_letters] == [b"jpeg 1", b"jpeg 2"]


def test_a_part_meets_the_head_that_is_live_when_it_closes() -> None:
    bench = Bench(sizes=(1,))
    bench.feed((1, "a"), (2, "a"), (3, "b"))
    observe = bench.inference._observe

    def swap(batch: Batch, seconds: float) -> None:
        observe(batch, seconds)
        if batch.refs[0].sequence == 1:
            bench.inference.swap(live_head(2, seed=1))

    bench.inference._observe = swap
    made = bench.run()
    assert [one.head_version for one in made if isinstance(one, Prediction)] == [2, 2]


def test_a_part_whose_time_is_over_is_decided_without_a_further_frame() -> None:
    bench = Bench(rule=replace(RULE, close_after_s=0.3))
    bench.feed((1, "a"), (2, "a"))
    take = bench.frames.take
    waits: list[float | None] = []

    def taking(*, timeout_s: float | None = None, **how: object) -> list[Item]:
        if len(bench.frames) == 0:
            waits.append(timeout_s)
            bench.clock.advance(timeout_s or 0.0)
            if len(bench.outcomes):
                bench.frames.close()
            return []
        return take(timeout_s=timeout_s, **how)  # type: ignore[arg-type]

    bench.frames.take = taking  # type: ignore[method-assign]
    bench.inference.run()
    assert bench.closed == [("cap-01", "deadline")]
    assert waits[0] == pytest.approx(0.3)


def test_the_tap_sees_one_row_per_decision_with_the_first_frames_picture_and_embedding() -> None:
    bench = Bench()
    bench.feed((1, "a"), (2, "a"), (3, "a"), (4, "b"))
    bench.run()
    assert [len(made) for _, _, _, made in bench.seen] == [1, 1]
    batch, features, scores, _ = bench.seen[0]
    assert (batch.pixels.shape, features.image.shape, scores.logits.shape) == ((1, 4, 4, 3), (1, 8), (1, 2))
    assert batch.pixels[0, 0, 0, 0] == 1
    assert batch.evidence == (b"jpeg 0",)


def test_a_part_that_nobody_takes_any_more_is_dropped_frame_by_frame() -> None:
    bench = Bench()
    bench.feed((1, "a"), (2, "a"))
    bench.outcomes.close()
    bench.run()
    assert bench.ledger.total().dropped == {"shutdown": 2}
    assert bench.ledger.total().error == 0


def test_a_letter_of_a_part_passes_before_the_part_is_decided() -> None:
    bench = Bench()
    bench.feed((1, "a"))
    ref: FrameRef = replace(make_frame(1).ref, part="a")
    bench.n += 1
    bench.ledger.captured((ref,))
    bench.frames.put(DeadLetter("cap-01", "undecodable", "cut short", b"", ref), lane="cap-01")
    bench.feed((3, "a"))
    sink = bench.publish()
    assert members_of(sink.delivered) == [("a", [0, 2])]
    assert len(sink.dead_letters) == 1
    assert bench.acks == [0, 1, 2]
