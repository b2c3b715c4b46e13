"""The iterator gives what was delivered, holds a fast line back, and ends with it."""

from __future__ import annotations

import threading

from tests.making import make_prediction
from workers.sinks.results import ResultsSink


def test_nothing_is_kept_before_somebody_wants_it() -> None:
    sink = ResultsSink(capacity=1)
    sink.deliver([make_prediction(sequence) for sequence in range(5)])
    sink.close()
    assert list(sink) == []


def test_predictions_come_out_in_order_and_the_iteration_ends_with_the_line() -> None:
    sink = ResultsSink()
    sink.want()
    sink.deliver([make_prediction(sequence) for sequence in range(3)])
    sink.close()
    assert [one.ref.sequence for one in sink] == [0, 1, 2]


def test_a_slow_reader_holds_the_line_back() -> None:
    sink = ResultsSink(capacity=2)
    sink.want()
    writer = threading.Thread(target=lambda: sink.deliver([make_prediction(sequence) for sequence in range(5)]))
    writer.start()
    reader = iter(sink)
    assert [next(reader).ref.sequence for _ in range(5)] == [0, 1, 2, 3, 4]
    writer.join(5)
    assert not writer.is_alive()


def test_close_lets_go_of_a_line_that_nobody_reads_any_more() -> None:
    sink = ResultsSink(capacity=1)
    sink.want()
    writer = threading.Thread(target=lambda: sink.deliver([make_prediction(sequence) for sequence in range(5)]))
    writer.start()
    sink.close()
    writer.join(5)
    assert not writer.is_alive()
