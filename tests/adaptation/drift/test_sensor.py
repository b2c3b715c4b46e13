"""The camera itself: learnt from a healthy recording, believed only when it lasts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.adaptation.drift.sensor import (
    SensorCheck,
    SensorLimits,
    SensorReading,
    SensorWatch,
    learn_limits,
    read_picture,
)
from pipeline.errors import DataError
from pipeline.types import UInt8Array

N_HEALTHY = 300
PERSIST = 30


def picture(rng: np.random.Generator, *, side: int = 224) -> UInt8Array:
    """A textured part under a light that trembles, with the camera's noise."""
    texture = 60 * np.sin(np.arange(side) / 3)[None, :, None] * np.cos(np.arange(side) / 5)[:, None, None]
    slope = np.linspace(-40, 40, side)[:, None, None]
    image = 120 + texture + slope + rng.normal(0, 2) + rng.normal(0, 4, (side, side, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def healthy() -> list[SensorReading]:
    rng = np.random.default_rng(0)
    return [read_picture(picture(rng), embedding_norm=10 + rng.normal(0, 0.2)) for _ in range(N_HEALTHY)]


@pytest.fixture(scope="module")
def limits(healthy: list[SensorReading]) -> SensorLimits:
    return learn_limits(healthy)


def faults_of(limits: SensorLimits, pictures: list[UInt8Array], *, norm: float = 10.0) -> tuple[SensorCheck, ...]:
    watch = SensorWatch(limits, persist=PERSIST)
    for image in pictures:
        watch.update(read_picture(image, embedding_norm=norm))
    return watch.faults


def spoilt(kind: str) -> list[UInt8Array]:
    rng = np.random.default_rng(1)
    change = {
        "dark": lambda image: (image * 0.4).astype(np.uint8),
        "defocused": lambda image: cv2.GaussianBlur(image, (0, 0), 6),
        "glaring": lambda image: np.where(np.arange(224)[:, None, None] < 60, np.uint8(255), image),
    }[kind]
    return [change(picture(rng)) for _ in range(PERSIST)]


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("dark", SensorCheck.BRIGHTNESS),
        ("defocused", SensorCheck.SHARPNESS),
        ("glaring", SensorCheck.SATURATION),
    ],
)
def test_a_spoilt_picture_that_lasts_is_the_right_fault(limits: SensorLimits, kind: str, check: SensorCheck) -> None:
    assert check in faults_of(limits, spoilt(kind))


def test_a_healthy_camera_has_no_fault(limits: SensorLimits) -> None:
    rng = np.random.default_rng(2)
    assert faults_of(limits, [picture(rng) for _ in range(N_HEALTHY)]) == ()


def test_a_frozen_picture_is_a_fault(limits: SensorLimits) -> None:
    frozen = picture(np.random.default_rng(3))
    assert faults_of(limits, [frozen] * (PERSIST + 10)) == (SensorCheck.FROZEN,)


def test_an_embedding_of_another_length_is_a_fault(limits: SensorLimits) -> None:
    rng = np.random.default_rng(4)
    assert faults_of(limits, [picture(rng) for _ in range(PERSIST)], norm=4.0) == (SensorCheck.NORM,)


def test_a_short_trouble_is_odd_but_no_fault_and_a_fault_ends_when_it_is_over(limits: SensorLimits) -> None:
    rng, watch = np.random.default_rng(5), SensorWatch(limits, persist=PERSIST)
    dark = [read_picture(image) for image in spoilt("dark")]
    states = [watch.update(one) for one in dark[: PERSIST - 1]]
    assert states[-1].odd
    assert not states[-1].faults
    assert watch.update(dark[-1]).changed
    after = [watch.update(read_picture(picture(rng))) for _ in range(PERSIST)]
    assert after[0].faults == (SensorCheck.BRIGHTNESS,)
    assert after[-1].faults == ()
    assert after[-1].changed


def test_pictures_a_little_out_of_focus_are_soft_before_any_of_them_is_odd(limits: SensorLimits) -> None:
    rng, watch = np.random.default_rng(7), SensorWatch(limits, persist=PERSIST)
    for _ in range(3 * PERSIST):
        watch.update(read_picture(picture(rng)))
    assert not watch.is_soft
    states = [watch.update(read_picture((picture(rng) * 0.8).astype(np.uint8))) for _ in range(PERSIST)]
    assert not watch.is_soft, "a dim lamp is no blur"
    states = [watch.update(read_picture(cv2.GaussianBlur(picture(rng), (0, 0), 0.6))) for _ in range(2 * PERSIST)]
    assert not any(SensorCheck.SHARPNESS in state.odd for state in states)
    assert watch.is_soft


def test_pictures_without_a_norm_have_no_norm_fault(healthy: list[SensorReading]) -> None:
    rng = np.random.default_rng(6)
    limits = learn_limits([read_picture(picture(rng, side=64)) for _ in range(200)])
    assert faults_of(limits, [picture(rng, side=64) for _ in range(PERSIST)], norm=99.0) == ()


def test_few_pictures_are_refused(healthy: list[SensorReading]) -> None:
    with pytest.raises(DataError, match="at least 200 pictures, got 20"):
        learn_limits(healthy[:20])
