"""Features on disk: the right ones, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.heads.bundles.feature_cache import FeatureCache
from pipeline.types import Features
from tests.pipeline.heads.making_heads import LEVEL_DIMS, D, encoder_info

SUM = "ab" * 32


def one() -> Features:
    rng = np.random.default_rng(0)
    return Features(
        image=rng.normal(size=(1, D)).astype(np.float32),
        levels=tuple(rng.normal(size=(1, dim)).astype(np.float32) for dim in LEVEL_DIMS),
    )


def test_what_was_kept_comes_back_to_half_precision(tmp_path: Path) -> None:
    FeatureCache(tmp_path, encoder=encoder_info()).put(SUM, features=one())
    got = FeatureCache(tmp_path, encoder=encoder_info()).get(SUM)
    assert got is not None
    np.testing.assert_allclose(got.image, one().image, rtol=1e-3, atol=1e-4)
    for a, b in zip(got.levels, one().levels, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", ["image", "region", "view", "weights", "preprocessing", "levels"])
def test_any_change_of_what_made_them_is_another_entry(tmp_path: Path, change: str) -> None:
    FeatureCache(tmp_path, encoder=encoder_info()).put(SUM, features=one())
    info = {
        "weights": encoder_info(sha256="b" * 64),
        "preprocessing": replace(encoder_info(), mean=(0.1, 0.5, 0.5)),
        "levels": encoder_info(levels=False),
    }.get(change, encoder_info())
    cache = FeatureCache(tmp_path, encoder=info)
    image = "cd" * 32 if change == "image" else SUM
    region = "0,0,5,5" if change == "region" else "full"
    assert cache.get(image, region=region, view="flip" if change == "view" else "canonical") is None


@pytest.mark.parametrize("damage", ["flip a bit", "truncate", "empty"])
def test_a_damaged_entry_counts_as_absent_and_is_replaced(tmp_path: Path, damage: str) -> None:
    cache = FeatureCache(tmp_path, encoder=encoder_info())
    cache.put(SUM, features=one())
    (entry,) = tmp_path.rglob("*.features")
    content = bytearray(entry.read_bytes())
    if damage == "flip a bit":
        content[40] ^= 1
    entry.write_bytes({"flip a bit": bytes(content), "truncate": bytes(content[:-3]), "empty": b""}[damage])
    assert cache.get(SUM) is None
    assert cache.n_corrupt == 1
    cache.put(SUM, features=one())
    assert cache.get(SUM) is not None
    assert [p.name for p in tmp_path.rglob("*") if p.name.startswith(".tmp")] == []


def test_values_beyond_half_precision_stay_finite(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, encoder=encoder_info(levels=False))
    cache.put(SUM, features=Features(image=np.full((1, D), 1e6, np.float32)))
    got = cache.get(SUM)
    assert got is not None
    assert np.isfinite(got.image).all()
