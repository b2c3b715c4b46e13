"""The correlation of a part's frames is found from the stream, and nothing is claimed before it is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.parts import IntraclassCorrelation


def stream(
    rho: float,
    *,
    n_parts: int,
    seed: int = 0,
    sizes: tuple[int, ...] = (2, 3, 5),
    measured: IntraclassCorrelation | None = None,
) -> IntraclassCorrelation:
    """Frames of 3 classes whose logit errors correlate by `rho` within a part."""
    rng, measured = np.random.default_rng(seed), measured or IntraclassCorrelation()
    for n in range(n_parts):
        label, size = n % 3, sizes[n % len(sizes)]
        common, own = rng.normal(0, np.sqrt(rho), 3), rng.normal(0, np.sqrt(1 - rho), (size, 3))
        measured.add((np.eye(3)[label] * 30.0 + common + own).astype(np.float32), label=label)
    return measured


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7, 1.0])
def test_the_correlation_of_a_known_stream_is_found(rho: float) -> None:
    found = [stream(rho, n_parts=2_000, seed=seed).value for seed in range(5)]
    assert np.mean(found) == pytest.approx(rho, abs=0.02)


def test_nothing_is_gained_before_enough_parts_were_seen() -> None:
    assert IntraclassCorrelation().value == 1.0
    assert stream(0.0, n_parts=99).value == 1.0
    assert stream(0.0, n_parts=100).value < 0.2


def test_parts_of_one_frame_say_nothing() -> None:
    assert stream(0.0, n_parts=500, sizes=(1,)).n_parts == 0


def test_frames_that_never_differ_are_one_witness() -> None:
    measured = IntraclassCorrelation()
    for n in range(200):
        measured.add(np.full((3, 2), [n % 7, 0.0], np.float32), label=0)
    assert measured.value == pytest.approx(1.0)


def test_a_camera_that_changes_is_believed_in_time_and_the_sums_stay_bounded() -> None:
    measured = stream(1.0, n_parts=5_000)
    assert measured.n_parts <= 2_000
    assert measured.value > 0.95
    assert stream(0.0, n_parts=8_000, measured=measured).value < 0.05
