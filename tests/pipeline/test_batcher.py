"""The batcher waits only while it pays, pads only while it is cheaper, and never mixes up rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batcher import N_SLOTS, Batcher
from pipeline.encoders.ladder import BatchCost
from tests.making import SIDE, make_frame

CPU = BatchCost(a_s=0.055, b_s=0.037)
CUDA = BatchCost(a_s=0.002, b_s=0.0001)
CUDA_SIZES = (1, 2, 4, 8, 16, 32, 64)


def batcher(*, sizes: tuple[int, ...] = CUDA_SIZES, cost: BatchCost = CUDA, max_wait_s: float = 0.01) -> Batcher:
    return Batcher(sizes=sizes, image_size=SIDE, max_wait_s=max_wait_s, cost=cost)


def test_a_full_batch_never_waits() -> None:
    assert batcher().hold_s(n=64, oldest_wait_s=0.0, gap_s=1e-6) == 0.0


def test_it_waits_when_the_next_frame_comes_sooner_than_a_batch_of_its_own_would_cost() -> None:
    assert batcher().hold_s(n=1, oldest_wait_s=0.0, gap_s=0.0005) > 0.0


def test_it_does_not_wait_for_a_frame_that_comes_too_late_to_pay() -> None:
    assert batcher().hold_s(n=1, oldest_wait_s=0.0, gap_s=0.0015) == 0.0


def test_it_never_holds_a_frame_beyond_the_deadline() -> None:
    patient = batcher(cost=BatchCost(a_s=10.0, b_s=0.0), max_wait_s=0.01)
    assert patient.hold_s(n=1, oldest_wait_s=0.004, gap_s=0.0001) == pytest.approx(0.006)
    assert patient.hold_s(n=1, oldest_wait_s=0.011, gap_s=0.0001) == 0.0


def test_where_rows_cost_more_than_batches_it_takes_what_is_ready() -> None:
    greedy = batcher(sizes=tuple(range(1, 17)), cost=CPU, max_wait_s=1.0)
    assert [greedy.hold_s(n=n, oldest_wait_s=0.0, gap_s=0.01) for n in (1, 2, 8)] == [0.0, 0.0, 0.0]


def test_every_count_has_its_own_size_on_the_cpu_ladder() -> None:
    exact = batcher(sizes=tuple(range(1, 17)), cost=CPU)
    assert [exact.rows_for(n) for n in range(1, 20)] == [*range(1, 17), 16, 16, 16]


def test_it_pads_up_where_padding_is_cheaper_than_a_second_batch() -> None:
    assert batcher().rows_for(60) == 60  # 4 rows of padding, 0.4 ms, against 2 ms of overhead
    assert batcher().rows_for(33) == 32  # 31 rows would cost 3.1 ms


def test_it_splits_never_below_the_smallest_size() -> None:
    coarse = batcher(sizes=(8, 16), cost=BatchCost(a_s=0.0, b_s=1.0))
    assert coarse.rows_for(3) == 3
    assert coarse.fill([make_frame()], now=0.0).size == 8


def test_rows_keep_their_frames_and_padding_is_zero() -> None:
    frames = [make_frame(sequence, value=sequence + 1) for sequence in range(3)]
    batch = batcher().fill(frames, now=5.0)
    assert (batch.size, batch.n_real, batch.formed_at) == (4, 3, 5.0)
    assert [int(row.max()) for row in batch.pixels] == [1, 2, 3, 0]
    assert [ref.sequence for ref in batch.refs] == [0, 1, 2]


def test_a_batch_in_flight_is_not_overwritten_by_the_next_one() -> None:
    fill = batcher()
    batches = [fill.fill([make_frame(value=value)], now=0.0) for value in (1, 2)]
    assert [int(batch.pixels.max()) for batch in batches] == [1, 2]
    again = fill.fill([make_frame(value=3)], now=0.0)
    assert again.slot == batches[0].slot
    assert N_SLOTS == 2


def test_buffers_are_made_once() -> None:
    made: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        made.append(shape)
        return np.empty(shape, np.uint8)

    counted = Batcher(sizes=(1, 2, 4), image_size=SIDE, max_wait_s=0.0, cost=CUDA, allocate=allocate)
    for _ in range(10):
        counted.fill([make_frame()] * 3, now=0.0)
    assert made == [(4, SIDE, SIDE, 3)] * N_SLOTS


@pytest.mark.parametrize("sizes", [(), (2, 1), (1, 1), (0, 1)])
def test_a_ladder_that_does_not_ascend_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        batcher(sizes=sizes)


@given(st.integers(1, 200), st.sampled_from([CPU, CUDA]), st.sampled_from([CUDA_SIZES, tuple(range(1, 17)), (3, 5)]))
def test_what_it_takes_always_fits_and_is_never_nothing(n: int, cost: BatchCost, sizes: tuple[int, ...]) -> None:
    assert 1 <= batcher(sizes=sizes, cost=cost).rows_for(n) <= min(n, sizes[-1])
