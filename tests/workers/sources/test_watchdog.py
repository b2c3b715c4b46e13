"""The watchdog finds a camera that repeats itself or sends nothing usable, and leaves a healthy one alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import SourceUnavailable
from pipeline.types import UInt8Array
from tests.fakes import FakeClock
from workers.sources.watchdog import FrameWatchdog


def noisy(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def make(clock: FakeClock, *, stall_s: float = 2.0, frozen_s: float = 3.0) -> FrameWatchdog:
    return FrameWatchdog(stall_s=stall_s, frozen_s=frozen_s, clock=clock, where="camera cap-01")


def test_pictures_that_differ_are_fine_for_ever() -> None:
    clock = FakeClock()
    watchdog = make(clock)
    for seed in range(50):
        clock.advance(1.0)
        watchdog.seen(noisy(seed))


def test_the_same_picture_for_too_long_is_a_lost_camera() -> None:
    clock = FakeClock()
    watchdog = make(clock)
    watchdog.seen(noisy(0))
    clock.advance(2.9)
    watchdog.seen(noisy(0))
    clock.advance(0.2)
    with pytest.raises(SourceUnavailable, match=r"camera cap-01.*same one to the bit for 3\.1 s"):
        watchdog.seen(noisy(0))


def test_noise_of_one_grey_level_is_enough_to_be_alive() -> None:
    clock = FakeClock()
    watchdog = make(clock)
    still = noisy(0) // 2
    for step in range(20):
        clock.advance(1.0)
        watchdog.seen(still + np.uint8(step % 2))


def test_a_frozen_limit_of_zero_turns_the_check_off() -> None:
    clock = FakeClock()
    watchdog = make(clock, frozen_s=0.0)
    for _ in range(20):
        clock.advance(100.0)
        watchdog.seen(noisy(0))


def test_nothing_usable_for_too_long_is_a_lost_camera() -> None:
    clock = FakeClock()
    watchdog = make(clock)
    watchdog.seen(noisy(0))
    clock.advance(1.9)
    watchdog.check()
    clock.advance(0.2)
    with pytest.raises(SourceUnavailable, match=r"no usable one for 2\.1 s"):
        watchdog.check()


def test_a_new_connection_starts_counting_anew() -> None:
    clock = FakeClock()
    watchdog = make(clock)
    watchdog.seen(noisy(0))
    clock.advance(10.0)
    watchdog.reset()
    watchdog.check()
    watchdog.seen(noisy(0))
