"""The staging around the graphs, run eagerly on the CPU; what only CUDA can show needs a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.encoders import golden
from pipeline.encoders.cuda_graphs import StagedRunner
from pipeline.encoders.ladder import as_batch, default_ladder
from pipeline.encoders.open_clip_encoder import OpenClipEncoder, make_tower
from pipeline.errors import EncoderError
from tests.tiny_models import VIT, expected, loaded, random_pixels, torch_encoder

SIDE = 64


@pytest.fixture
def runner() -> StagedRunner:
    tower = make_tower(loaded(VIT), device="cpu", precision="fp32", n_levels=4)
    return StagedRunner(tower, ladder=(1, 2, 4), side=SIDE, device="cpu")


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_number_of_rows_gives_its_own_rows(runner: StagedRunner, n: int) -> None:
    pixels = random_pixels(n, side=SIDE)
    got, plain = runner.submit(pixels)(), torch_encoder(VIT, n_levels=4).encode(as_batch(pixels))
    np.testing.assert_allclose(got.image, plain.image, atol=1e-5)
    assert len(got.levels) == 4
    for level, reference in zip(got.levels, plain.levels, strict=True):
        np.testing.assert_allclose(level, reference, atol=1e-4)


def test_two_batches_in_flight_keep_their_own_results(runner: StagedRunner) -> None:
    pixels = [random_pixels(n, side=SIDE, seed=n) for n in (3, 2, 4)]
    alone = [runner.submit(rows)().image for rows in pixels]
    buffer = pixels[0].copy()
    first = runner.submit(buffer)
    buffer[:] = 0  # the batcher may reuse its buffer at once
    second = runner.submit(pixels[1])
    np.testing.assert_array_equal(first().image, alone[0])
    third = runner.submit(pixels[2])
    np.testing.assert_array_equal(second().image, alone[1])
    np.testing.assert_array_equal(third().image, alone[2])


def test_a_third_batch_in_flight_is_refused(runner: StagedRunner) -> None:
    for _ in range(2):
        runner.submit(random_pixels(1, side=SIDE))
    with pytest.raises(EncoderError, match="at most 2 batches in flight"):
        runner.submit(random_pixels(1, side=SIDE))


def test_a_result_is_given_once(runner: StagedRunner) -> None:
    collect = runner.submit(random_pixels(1, side=SIDE))
    collect()
    with pytest.raises(EncoderError, match="collected before"):
        collect()


def test_a_late_second_collect_does_not_take_the_next_batch(runner: StagedRunner) -> None:
    pixels = random_pixels(1, side=SIDE)
    old = runner.submit(pixels)
    old()
    runner.submit(pixels)()
    new = runner.submit(pixels)  # the same slot as `old`
    with pytest.raises(EncoderError, match="collected before"):
        old()
    new()


def test_more_rows_than_the_largest_size_are_refused(runner: StagedRunner) -> None:
    with pytest.raises(EncoderError, match="at most 4 rows, got 5"):
        runner.submit(random_pixels(5, side=SIDE))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(EncoderError, match="no CUDA device; use cpu"):
        OpenClipEncoder(loaded(VIT), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_captured_graphs_give_the_expected_values(precision: str) -> None:
    encoder = OpenClipEncoder(loaded(VIT), device="cuda", precision=precision, n_levels=4)
    golden.check(encoder, default_ladder("cuda"), expected=expected(VIT), precision=precision)
