"""A frame is delivered when every sink has it, and not before."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from pipeline.types import DeadLetter, Prediction
from tests.fakes import FakeClock, FakeSink
from tests.making import make_prediction, make_ref
from workers.backoff import Backoff
from workers.channel import Channel
from workers.ledger import Ledger
from workers.publish import Outcome, Publish


class Bench:
    """A publish worker between a channel and fake sinks."""

    def __init__(self, *sinks: FakeSink, pace_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.outcomes: Channel[list[Outcome]] = Channel(capacity=64, clock=self.clock)
        self.ledger = Ledger()
        self.acks: list[object] = []
        self.ledger.register("cap-01", ack=self.acks.append)
        self.announced: list[Prediction] = []
        self.attempts: list[tuple[str, int, bool]] = []
        self.publish = Publish(
            outcomes=self.outcomes,
            sinks=sinks,
            ledger=self.ledger,
            clock=self.clock,
            backoff=lambda: Backoff(initial_s=0.1, cap_s=1.0, rng=random.Random(0)),
            on_delivered=self.announce,
            on_sink=lambda name, n, seconds: self.attempts.append((name, n, seconds is not None)),
            pace_s=pace_s,
        )

    def announce(self, predictions: Sequence[Prediction]) -> None:
        self.announced.extend(predictions)

    def feed(self, *batches: list[Outcome]) -> None:
        for outcomes in batches:
            for one in outcomes:
                self.ledger.captured((one.ref,))
            self.outcomes.put(outcomes, lane="inference")

    def run(self) -> None:
        self.outcomes.close()
        self.publish.run()


def predictions(*sequences: int) -> list[Outcome]:
    return [make_prediction(sequence) for sequence in sequences]


def letter(sequence: int) -> list[Outcome]:
    return [DeadLetter("cap-01", "undecodable", "cut short", b"\xff\xd8", make_ref(sequence))]


def test_every_sink_gets_every_prediction_in_order() -> None:
    one, two = FakeSink(name="one"), FakeSink(name="two")
    bench = Bench(one, two)
    bench.feed(predictions(0, 1), predictions(2))
    bench.run()
    assert [p.ref.sequence for p in one.delivered] == [p.ref.sequence for p in two.delivered] == [0, 1, 2]
    assert bench.acks == [0, 1, 2]
    assert bench.ledger.total().delivered == 3
    assert [p.ref.sequence for p in bench.announced] == [0, 1, 2]


def test_a_refusing_sink_is_asked_again_and_the_other_does_not_get_duplicates() -> None:
    good, stubborn = FakeSink(name="good"), FakeSink(name="stubborn", failures=3)
    bench = Bench(good, stubborn)
    bench.feed(predictions(0))
    bench.run()
    assert len(good.delivered) == len(stubborn.delivered) == 1
    assert len(bench.clock.waits) == 3
    assert [ok for name, _, ok in bench.attempts if name == "stubborn"] == [False, False, False, True]
    assert bench.publish.failing is None


def test_nothing_is_acknowledged_before_the_last_sink_has_it() -> None:
    stubborn = FakeSink(failures=1)
    bench = Bench(stubborn)
    seen: list[int] = []
    bench.clock.wait = lambda seconds: bool(seen.append(len(bench.acks)))  # type: ignore[method-assign]
    bench.feed(predictions(0))
    bench.run()
    assert seen == [0]
    assert bench.acks == [0]


def test_a_dead_letter_goes_to_the_sinks_and_is_counted_and_acknowledged() -> None:
    sink = FakeSink()
    bench = Bench(sink)
    bench.feed(letter(0), predictions(1))
    bench.run()
    assert [one.original for one in sink.dead_letters] == [b"\xff\xd8"]
    total = bench.ledger.total()
    assert (total.dead_lettered, total.delivered, total.error) == ({"undecodable": 1}, 1, 0)
    assert bench.acks == [0, 1]


def test_what_comes_in_quick_succession_is_delivered_together_and_what_comes_alone_at_once() -> None:
    bench = Bench(FakeSink(), pace_s=0.02)
    follows = iter([lambda: bench.feed(predictions(1)), bench.outcomes.close])  # each delivery
    bench.publish._on_delivered = lambda _: next(follows)()
    waited: list[float] = []

    def meanwhile(seconds: float) -> bool:
        waited.append(seconds)
        bench.clock.advance(seconds)
        if len(waited) == 1:
            bench.feed(predictions(2, 3))
        return False

    bench.clock.wait = meanwhile  # type: ignore[method-assign]
    bench.feed(predictions(0))
    bench.publish.run()
    assert [n for _, n, _ in bench.attempts] == [1, 3]
    assert waited[0] == pytest.approx(0.02)
    assert bench.acks == [0, 1, 2, 3]


def test_letters_keep_their_place_among_the_results() -> None:
    sink = FakeSink()
    bench = Bench(sink)
    bench.feed([*predictions(0, 1), *letter(2), *predictions(3)], predictions(4))
    bench.run()
    assert [n for name, n, _ in bench.attempts] == [2, 1, 2]
    assert [p.ref.sequence for p in sink.delivered] == [0, 1, 3, 4]


def test_an_abandoned_sink_loses_what_it_refused_and_every_loss_is_counted() -> None:
    sink = FakeSink(failures=1000)
    bench = Bench(sink)
    bench.feed(predictions(0, 1), letter(2))
    bench.publish.abandon()
    bench.run()
    total = bench.ledger.total()
    assert (total.dropped, total.in_flight, total.error) == ({"undelivered": 3}, 0, 0)
    assert bench.announced == []
    assert "refuses" in (bench.publish.failing or "")
