"""What every Encoder promises, over every implementation and the fake."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.encoders import demo_clip, golden
from pipeline.encoders.ladder import as_batch
from pipeline.encoders.onnx_encoder import OnnxEncoder
from pipeline.encoders.open_clip_encoder import OpenClipEncoder
from pipeline.encoders.open_clip_model import DEMO_CLIP, load_open_clip
from pipeline.errors import EncoderError
from pipeline.interfaces import Encoder
from pipeline.types import UInt8Array
from tests.conftest import need
from tests.fakes import FakeEncoder
from tests.tiny_models import RESNET, SHALLOW, VIT, onnx_encoder, openvino_encoder, random_pixels, torch_encoder

LADDER = (1, 2, 3, 4)
TOLERANCE = 1e-4


def _demo(_: Path) -> Encoder:
    need(demo_clip.WEIGHTS.is_file(), what="the weights of demo_clip", how="they come with the package")
    return OpenClipEncoder(load_open_clip(DEMO_CLIP), n_levels=4)


def _mobilenet(shared_data: Path) -> Encoder:
    return OnnxEncoder(shared_data / "mobilenetv2-imagenet" / "mobilenetv2_1.0_224.onnx", threads=1)


ENCODERS: dict[str, Callable[[Path], Encoder]] = {
    "fake": lambda _: FakeEncoder(image_size=16, n_levels=4),
    "vit": lambda _: torch_encoder(VIT),
    "vit with levels": lambda _: torch_encoder(VIT, n_levels=4),
    "resnet with levels": lambda _: torch_encoder(RESNET, n_levels=4),
    "a vit too shallow for levels": lambda _: torch_encoder(SHALLOW, n_levels=4),
    "demo_clip": _demo,
    "openvino": lambda _: openvino_encoder(),
    "onnx with a fixed batch": lambda _: onnx_encoder(n=3),
    "onnx with an open batch": lambda _: onnx_encoder(n="n"),
    "onnx mobilenet": _mobilenet,
}


@pytest.fixture(params=list(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    needs_data = request.param == "onnx mobilenet"
    return ENCODERS[request.param](request.getfixturevalue("shared_data") if needs_data else Path())


@pytest.fixture
def pixels(encoder: Encoder) -> UInt8Array:
    return golden.pictures(encoder.info.image_size)[:4]


def test_it_is_an_encoder_with_an_identity(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert re.fullmatch("[0-9a-f]{64}", encoder.info.sha256)
    assert encoder.info.name


def test_embeddings_are_unit_float32_rows(encoder: Encoder, pixels: UInt8Array) -> None:
    image = encoder.encode(as_batch(pixels)).image
    assert image.dtype == np.float32
    assert image.shape == (4, encoder.info.embedding_dim)
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1.0, atol=1e-5)


def test_levels_are_as_wide_as_info_says(encoder: Encoder, pixels: UInt8Array) -> None:
    levels = encoder.encode(as_batch(pixels)).levels
    assert tuple(level.shape for level in levels) == tuple((4, width) for width in encoder.info.level_dims)
    assert all(level.dtype == np.float32 for level in levels)


@pytest.mark.parametrize("size", LADDER)
def test_a_row_does_not_depend_on_batch_size_position_or_padding(
    encoder: Encoder, pixels: UInt8Array, size: int
) -> None:
    alone = encoder.encode(as_batch(pixels[:1]))
    batch = random_pixels(size, side=encoder.info.image_size)
    for position in range(size):
        rows = batch.copy()
        rows[position] = pixels[0]
        rows[position + 1 :] = 0  # padding
        got = encoder.encode(as_batch(rows))
        np.testing.assert_allclose(got.image[position], alone.image[0], atol=TOLERANCE)
        for level, reference in zip(got.levels, alone.levels, strict=True):
            np.testing.assert_allclose(level[position], reference[0], atol=TOLERANCE, rtol=TOLERANCE)


def test_the_same_batch_gives_the_same_values_twice(encoder: Encoder, pixels: UInt8Array) -> None:
    first, second = (encoder.encode(as_batch(pixels)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)


def test_different_pictures_differ(encoder: Encoder, pixels: UInt8Array) -> None:
    image = encoder.encode(as_batch(pixels)).image
    assert np.abs(image[:, None] - image[None]).max(axis=2)[~np.eye(4, dtype=bool)].min() > 1e-4


def test_results_stay_when_the_next_batch_comes(encoder: Encoder, pixels: UInt8Array) -> None:
    buffer = pixels.copy()
    features = encoder.encode(as_batch(buffer))
    kept = [values.copy() for values in (features.image, *features.levels)]
    buffer[:] = random_pixels(4, side=encoder.info.image_size)
    encoder.encode(as_batch(buffer))
    for values, before in zip((features.image, *features.levels), kept, strict=True):
        np.testing.assert_array_equal(values, before)


def test_the_batch_is_left_as_it_was(encoder: Encoder, pixels: UInt8Array) -> None:
    before = pixels.copy()
    encoder.encode(as_batch(pixels))
    np.testing.assert_array_equal(pixels, before)


def test_pictures_of_another_size_are_refused(encoder: Encoder) -> None:
    with pytest.raises(EncoderError, match="pixels must be"):
        encoder.encode(as_batch(random_pixels(1, side=encoder.info.image_size + 1)))


def test_the_golden_check_passes(encoder: Encoder) -> None:
    report = golden.check(encoder, LADDER)
    assert [bucket.size for bucket in report.buckets] == list(LADDER)
