"""Cameras with their references, made once."""

from __future__ import annotations

import pytest

from pipeline.adaptation.drift.profile import ReferenceProfile
from tests.adaptation.streams import Camera
from tests.adaptation.trials import world

N_CAMERAS = 8

World = tuple[Camera, ReferenceProfile]


@pytest.fixture(scope="session")
def lines() -> list[World]:
    """Eight cameras of the line-like regime, a fifth of the published size. Branch them; do not consume them."""
    return [world(seed) for seed in range(N_CAMERAS)]


@pytest.fixture(scope="session")
def line(lines: list[World]) -> World:
    """The first of them."""
    return lines[0]
