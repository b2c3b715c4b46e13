"""T14, the store's part: a slow poison of 5 % per batch changes no founder, breaks no cap, and shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.adaptation.support.exemplars import Caps, Exemplar, Role
from pipeline.adaptation.support.rows import SupportRows, changed_shares
from tests.adaptation.support.making_support import DAY, NOW, exemplar, open_store, teach

CAPS = Caps(founders=8, herd=12, recent=12, hard=4)
N_BATCHES, PER_BATCH = 20, 20
AXES = {"ok": 0, "dent": 1}


def batch(number: int) -> list[Exemplar]:
    """20 honest parts of each class, and one dent that says it is ok: 5 % of what teaches ok."""
    rows = [
        exemplar(f"{name}-{number:02d}-{i:02d}", name, seed=1000 * number + 50 * axis + i, towards=axis, margin=0.5)
        for name, axis in AXES.items()
        for i in range(PER_BATCH)
    ]
    poison = exemplar(f"poison-{number:02d}", "ok", seed=1000 * number + 999, towards=AXES["dent"], margin=0.01)
    return [poison, *rows[1:]]


@pytest.fixture
def states(tmp_path: Path) -> list[SupportRows]:
    with open_store(tmp_path, caps=CAPS) as store:
        for name, axis in AXES.items():
            store.add_founders([exemplar(f"f-{name}-{i}", name, seed=i, towards=axis) for i in range(8)], at=NOW)
        found = [store.rows()]
        for number in range(N_BATCHES):
            teach(store, batch(number), at=NOW + number * DAY)
            found.append(store.rows())
            for name in AXES:
                counts = {role: store.counts().get((name, role), 0) for role in Role}
                assert counts[Role.FOUNDER] == 8
                assert counts[Role.HERD] <= CAPS.herd
                assert counts[Role.RECENT] <= CAPS.recent
                assert counts[Role.HARD] <= CAPS.hard
        return found


def founders_of(rows: SupportRows) -> dict[str, bytes]:
    return {e.event_id: e.embedding.tobytes() for e in rows.exemplars if e.event_id.startswith("f-")}


def test_founders_are_the_same_bytes_after_twenty_poisoned_batches(states: list[SupportRows]) -> None:
    assert len(founders_of(states[0])) == 16
    assert all(founders_of(rows) == founders_of(states[0]) for rows in states)


def test_the_poison_cannot_pile_up(states: list[SupportRows]) -> None:
    living = [e.event_id for e in states[-1].exemplars if e.label == "ok"]
    n_poison = sum(event.startswith("poison") for event in living)
    assert n_poison / len(living) <= 0.15, (
        "a single labeller never fills the hard ones, the herd is nearest to the mean"
    )


def test_the_class_mean_stays_with_its_founders(states: list[SupportRows]) -> None:
    rows = [e for e in states[-1].exemplars if e.label == "ok"]
    mean = np.mean([e.embedding.astype(np.float64) for e in rows], axis=0)
    assert mean[AXES["ok"]] > 5 * mean[AXES["dent"]]


def test_what_a_run_changed_is_known(states: list[SupportRows]) -> None:
    assert changed_shares(states[-1], after=states[-1]) == {"dent": 0.0, "ok": 0.0}
    assert changed_shares(states[0], after=states[1])["ok"] > 0.25
    fewer = changed_shares(states[-2], after=states[-1])
    assert 0 < fewer["ok"] <= 28 / 36
