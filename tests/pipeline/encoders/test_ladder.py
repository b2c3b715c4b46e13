"""Batch sizes and what they cost."""

from __future__ import annotations

import pytest

from pipeline.encoders.ladder import BatchCost, check_ladder, choose_bucket, default_ladder, fit_cost, measure_cost
from pipeline.errors import EncoderError
from pipeline.types import Batch, EncoderInfo, Features
from tests.fakes import FakeClock, FakeEncoder


class SlowEncoder:
    """Takes 55 + 37 n milliseconds of a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._encoder = FakeEncoder()

    @property
    def info(self) -> EncoderInfo:
        return self._encoder.info

    def encode(self, batch: Batch) -> Features:
        self._clock.advance(0.055 + 0.037 * batch.size)
        return self._encoder.encode(batch)


def test_a_cpu_takes_every_size_and_cuda_powers_of_two() -> None:
    assert default_ladder("cpu") == tuple(range(1, 17))
    assert default_ladder("cuda:1") == (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize("sizes", [(), (0, 1), (4, 2), (2, 2)])
def test_sizes_must_be_ascending_from_one(sizes: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError, match="batch_sizes must be ascending"):
        check_ladder(sizes)


def test_the_smallest_size_that_fits_is_chosen() -> None:
    assert [choose_bucket(n, ladder=(1, 4, 8)) for n in (1, 2, 4, 5, 8)] == [1, 4, 4, 8, 8]
    with pytest.raises(EncoderError, match="at most 8 rows, got 9"):
        choose_bucket(9, ladder=(1, 4, 8))


def test_the_cost_is_measured_as_a_line() -> None:
    clock = FakeClock()
    cost = measure_cost(SlowEncoder(clock), (1, 2, 4, 8), now=clock.monotonic)
    assert cost.a_s == pytest.approx(0.055)
    assert cost.b_s == pytest.approx(0.037)
    assert cost.pad_limit == pytest.approx(55 / 37)
    assert cost.seconds(10) == pytest.approx(0.425)


def test_noise_gives_no_negative_cost() -> None:
    assert fit_cost((1, 2), (0.1, 0.3)) == BatchCost(a_s=0.0, b_s=pytest.approx(0.14))
    falling = fit_cost((1, 2), (0.3, 0.1))
    assert falling.a_s == 0.0
    assert falling.b_s > 0.0


def test_one_size_counts_as_cost_per_picture() -> None:
    assert fit_cost((8,), (0.4,)) == BatchCost(a_s=0.0, b_s=pytest.approx(0.05))
