"""OpenVINO gives what torch gives, levels included."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.encoders import golden
from pipeline.encoders.ladder import as_batch
from pipeline.encoders.precision import centred_cosine
from pipeline.errors import EncoderError
from tests.tiny_models import OPENVINO_LADDER, VIT, expected, openvino_encoder, random_pixels, torch_encoder


def test_it_is_the_same_encoder_as_torch() -> None:
    assert openvino_encoder().info == torch_encoder(VIT, n_levels=4).info


def test_embeddings_and_levels_agree_with_torch() -> None:
    pixels = np.concatenate([golden.pictures(64)[:2], random_pixels(2, side=64)])
    got, reference = (e.encode(as_batch(pixels)) for e in (openvino_encoder(), torch_encoder(VIT, n_levels=4)))
    np.testing.assert_allclose(got.image, reference.image, atol=1e-4)
    for level, other in zip((got.image, *got.levels), (reference.image, *reference.levels), strict=True):
        assert centred_cosine(other, level).min() >= 0.9999
    report = golden.check(openvino_encoder(), OPENVINO_LADDER, expected=expected(VIT))
    assert all(bucket.cosine > 0.9999 for bucket in report.buckets)


def test_more_rows_than_the_largest_compiled_size_are_refused() -> None:
    with pytest.raises(EncoderError, match="at most 4 rows, got 5"):
        openvino_encoder().encode(as_batch(random_pixels(5, side=64)))
