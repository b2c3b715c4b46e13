"""The real loop over pictures of the simulated line as the shipped encoder sees them, each encoded once.

The full size, with images all the way and with what people do wrong: `python -m tests.benchmarks.adaptation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adaptation.lifecycle.states import State
from pipeline.heads.bundles import registry
from tests.benchmarks.adaptation.encoded import ENCODED_BLUR, encoded_setting
from tests.benchmarks.adaptation.poisoning import POISONS, true_cost
from tests.workers.adaptation.world import Setting, World

N_PICTURES = 700
WITHIN = 600  # parts


@pytest.fixture(scope="module")
def setting() -> Setting:
    return encoded_setting(lambda _line: None, n=N_PICTURES)


@pytest.fixture
def world(setting: Setting, tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path / "world", setting=setting)
    one.commission()
    yield one
    one.close()


def test_a_healthy_line_is_quiet_blur_is_found_in_time_and_wrong_labels_make_no_head(
    world: World, setting: Setting
) -> None:
    n_states = len(world.states)
    world.feed(2_000)
    assert world.states[n_states:] == []
    assert true_cost(world, 1, drift=ENCODED_BLUR) > true_cost(world, 1)
    n = world.feed(4_000, drift=ENCODED_BLUR, until=(State.DIAGNOSE,))
    assert n <= WITHIN
    world.says = lambda who, truth: POISONS["all good"](setting, who, truth)
    world.feed(20_000, drift=ENCODED_BLUR, until=(State.TRAINING, State.HOLD))
    assert world.state is State.HOLD
    assert "not believed" in world.loop.state.hold_reason
    assert registry.versions(world.heads) == (1,)
