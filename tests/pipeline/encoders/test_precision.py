"""Which number format is chosen, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.encoders import golden
from pipeline.encoders.open_clip_encoder import OpenClipEncoder
from pipeline.encoders.precision import centred_cosine, choose_precision
from pipeline.errors import EncoderError
from pipeline.types import Float32Array, UInt8Array
from tests.fakes import FakeClock
from tests.tiny_models import VIT, expected, loaded

PICTURES = golden.pictures(8)


def encode_in(seconds: float, *, clock: FakeClock, noise: float = 0.0) -> Callable[[UInt8Array], Float32Array]:
    def encode(pixels: UInt8Array) -> Float32Array:
        clock.advance(seconds)
        rows = pixels.reshape(len(pixels), -1).astype(np.float32)
        wobble = np.random.default_rng(0).normal(size=rows.shape).astype(np.float32)
        return rows + noise * wobble

    return encode


@pytest.mark.parametrize(
    ("bf16_s", "noise", "chosen"),
    [(0.05, 0.0, "bf16"), (0.076, 0.0, "bf16"), (0.078, 0.0, "fp32"), (0.5, 0.0, "fp32"), (0.05, 20.0, "fp32")],
)
def test_bf16_is_kept_only_where_it_is_faster_and_says_the_same(bf16_s: float, noise: float, chosen: str) -> None:
    clock = FakeClock()
    choice = choose_precision(
        encode_in(0.1, clock=clock),
        encode_in(bf16_s, clock=clock, noise=noise),
        pictures=PICTURES,
        now=clock.monotonic,
    )
    assert choice.precision == chosen
    assert choice.speedup == pytest.approx(0.1 / bf16_s)


def test_centring_shows_what_plain_cosine_hides() -> None:
    rng = np.random.default_rng(0)
    offset = 10 * np.ones(16)
    expected_rows, other = ((offset + rng.normal(size=(50, 16))).astype(np.float32) for _ in range(2))
    norms = np.linalg.norm(expected_rows, axis=1) * np.linalg.norm(other, axis=1)
    assert ((expected_rows * other).sum(axis=1) / norms).min() > 0.97
    assert abs(centred_cosine(expected_rows, other)).mean() < 0.5
    np.testing.assert_allclose(centred_cosine(expected_rows, expected_rows), 1.0, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_cast_tower_gives_fp32_results_within_its_tolerance(precision: str) -> None:
    encoder = OpenClipEncoder(loaded(VIT), precision=precision, n_levels=4)
    report = golden.check(encoder, (1, 3), expected=expected(VIT), precision=precision)
    assert report.buckets[0].difference > 0, "the cast changes something, else it was not made"


def test_casting_leaves_the_loaded_model_alone() -> None:
    OpenClipEncoder(loaded(VIT), precision="bf16")
    assert {str(tensor.dtype) for tensor in loaded(VIT).module.state_dict().values()} == {"torch.float32"}


def test_auto_measures_and_reports() -> None:
    encoder = OpenClipEncoder(loaded(VIT), precision="auto")
    assert encoder.precision.precision in ("fp32", "bf16")
    assert encoder.precision.speedup is not None
    assert encoder.precision.speedup > 0
    assert encoder.precision.cosine == pytest.approx(1.0, abs=1e-3)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(EncoderError, match="precision must be one of fp32, bf16, fp16, auto, got 'int8'"):
        OpenClipEncoder(loaded(VIT), precision="int8")
