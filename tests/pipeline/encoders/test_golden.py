"""The readiness check must notice every kind of wrong value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.encoders import golden
from pipeline.errors import EncoderError
from pipeline.types import Batch, EncoderInfo, Features
from tests.tiny_models import RESNET, VIT, expected, torch_encoder


class Altered:
    """An encoder whose results were changed on the way."""

    def __init__(self, change: Callable[[Batch, Features], Features]) -> None:
        self._encoder = torch_encoder(VIT, n_levels=4)
        self._change = change

    @property
    def info(self) -> EncoderInfo:
        return self._encoder.info

    def encode(self, batch: Batch) -> Features:
        return self._change(batch, self._encoder.encode(batch))


@pytest.mark.parametrize("name", [VIT, RESNET])
def test_a_sound_encoder_passes_with_its_figures(name: str) -> None:
    report = golden.check(torch_encoder(name, n_levels=4), (1, 2, 5), expected=expected(name))
    assert report.sha256 == torch_encoder(name).info.sha256
    assert [bucket.size for bucket in report.buckets] == [1, 2, 5]
    assert all(bucket.cosine > 0.9999 and bucket.difference < 1e-5 for bucket in report.buckets)


@pytest.mark.parametrize(
    "change",
    [
        lambda batch, features: replace(features, image=np.roll(features.image, 1, axis=0)),
        lambda batch, features: replace(features, image=features.image + np.float32(2e-4)),
        lambda batch, features: replace(features, image=features.image * np.float32(np.nan)),
        lambda batch, features: replace(features, levels=(features.levels[1], *features.levels[1:])),
        lambda batch, features: replace(features, image=features.image + batch.pixels[-1].mean() * np.float32(1e-5)),
        lambda batch, features: features if batch.size < 4 else replace(features, image=-features.image),
    ],
    ids=["rows swapped", "shifted", "not a number", "level swapped", "leaks from the last row", "one size wrong"],
)
def test_wrong_values_are_refused_with_their_figures(change: Callable[[Batch, Features], Features]) -> None:
    with pytest.raises(EncoderError, match=r"in a batch of \d .* got cosine .*, difference"):
        golden.check(Altered(change), (1, 3, 4), expected=expected(VIT))


def test_without_a_reference_the_batch_sizes_are_still_compared() -> None:
    def change(batch: Batch, features: Features) -> Features:
        return features if batch.size == 1 else replace(features, image=-features.image)

    golden.check(torch_encoder(VIT), (1, 3))
    with pytest.raises(EncoderError, match="in a batch of 3"):
        golden.check(Altered(change), (1, 3))


def test_pictures_are_the_same_on_every_machine_and_all_different() -> None:
    pictures = golden.pictures(96)
    assert pictures.shape == (8, 96, 96, 3)
    assert hashlib.sha256(pictures.tobytes()).hexdigest() == PICTURES_SHA256
    flat = pictures.reshape(8, -1).astype(np.float64)
    distance = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert distance[~np.eye(8, dtype=bool)].min() > 10  # grey levels


def test_stored_values_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / golden.STORED_NAME
    golden.write_stored(path, expected=expected(VIT), sha256="ab")
    golden.check_stored(path, expected=expected(VIT), sha256="ab")


def test_other_weights_or_other_values_than_the_stored_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / golden.STORED_NAME
    golden.write_stored(path, expected=expected(VIT), sha256="ab")
    with pytest.raises(EncoderError, match="must have sha256 ab, got cd"):
        golden.check_stored(path, expected=expected(VIT), sha256="cd")
    stored = json.loads(path.read_text())
    stored["embeddings"][3][5] += 0.01
    path.write_text(json.dumps(stored))
    with pytest.raises(EncoderError, match=r"got a difference of 0\.01"):
        golden.check_stored(path, expected=expected(VIT), sha256="ab")


def test_a_stored_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / golden.STORED_NAME
    for text in (None, "{", "{}"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(EncoderError, match="cannot be read"):
            golden.check_stored(path, expected=expected(VIT), sha256="ab")


PICTURES_SHA256 = "50c4b2c0dbed07f391e53ebaaf5411087e48841731ed27e029ca31fa3e586078"
