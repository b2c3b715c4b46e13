"""Waits grow, stay within floor and cap, differ between cameras, and start over after a success."""

from __future__ import annotations

import random

import pytest

from pipeline.errors import ConfigError
from workers.backoff import Backoff


def test_delays_stay_between_the_floor_and_the_doubling_step_and_the_cap() -> None:
    backoff = Backoff(initial_s=0.5, cap_s=4.0, rng=random.Random(1))
    for attempt in range(40):
        assert 0.25 <= backoff.next_delay() <= min(4.0, 0.5 * 2**attempt)


def test_the_cap_is_nearly_reached_and_never_passed() -> None:
    backoff = Backoff(initial_s=0.5, cap_s=4.0, rng=random.Random(2))
    delays = [backoff.next_delay() for _ in range(200)]
    assert 3.5 < max(delays) <= 4.0


def test_two_cameras_lost_together_do_not_come_back_together() -> None:
    one, other = (Backoff(rng=random.Random(seed)) for seed in (1, 2))
    assert [one.next_delay() for _ in range(5)] != [other.next_delay() for _ in range(5)]


def test_the_same_seed_gives_the_same_waits() -> None:
    one, other = (Backoff(rng=random.Random(7)) for _ in range(2))
    assert [one.next_delay() for _ in range(5)] == [other.next_delay() for _ in range(5)]


def test_reset_starts_from_the_first_step_again() -> None:
    backoff = Backoff(initial_s=1.0, cap_s=60.0, rng=random.Random(3))
    for _ in range(10):
        backoff.next_delay()
    assert backoff.n_attempts == 10
    backoff.reset()
    assert backoff.next_delay() <= 1.0
    assert backoff.n_attempts == 1


def test_days_of_failing_do_not_overflow() -> None:
    backoff = Backoff(initial_s=0.001, cap_s=30.0, rng=random.Random(4))
    assert all(backoff.next_delay() <= 30.0 for _ in range(5000))


@pytest.mark.parametrize(("initial_s", "cap_s"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_impossible_limits_are_refused(initial_s: float, cap_s: float) -> None:
    with pytest.raises(ConfigError, match="initial_s"):
        Backoff(initial_s=initial_s, cap_s=cap_s)
