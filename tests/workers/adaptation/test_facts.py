"""What the gate is told of the rows a challenger was fitted on: founders that changed, classes that were replaced."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.gate.conditions import GateSettings, fact_checks
from pipeline.adaptation.gate.values import CandidateFacts
from pipeline.heads.bundles.evidence import SupportIndex
from workers.adaptation.facts import FOUNDER, founders_kept, replaced_shares

N_FOUNDERS, N_TAUGHT = 4, 8


def rows(names: list[str], *, labels: list[int], changed: str = "") -> SupportIndex:
    """A row per name, always the same of the same name."""
    image = []
    for name in names:
        key = name.removeprefix(FOUNDER)
        row = np.random.default_rng(abs(sum(map(ord, key)))).standard_normal(16).astype(np.float32)
        image.append(-row if name == changed else row)
    return SupportIndex(np.stack(image), np.array(labels), tuple(names))


def store(*, taught: range, changed: str = "") -> SupportIndex:
    names = [f"{FOUNDER}ok/{n}.png" for n in range(N_FOUNDERS)] + [f"cap-01-7-{n}-full" for n in taught]
    return rows(names, labels=[0] * N_FOUNDERS + [n % 2 for n in taught], changed=changed)


def test_a_first_head_names_its_founders_otherwise_and_may_have_had_more() -> None:
    first = rows([f"ok/{n}.png" for n in range(N_FOUNDERS + 3)], labels=[0] * (N_FOUNDERS + 3))
    assert founders_kept(first, after=store(taught=range(8)))
    assert replaced_shares(first, after=store(taught=range(8))) == {}


def test_a_founder_that_is_another_picture_or_gone_is_seen() -> None:
    before = store(taught=range(8))
    assert founders_kept(before, after=store(taught=range(4, 12)))
    assert not founders_kept(before, after=store(taught=range(8), changed=f"{FOUNDER}ok/1.png"))
    without = rows([f"{FOUNDER}ok/{n}.png" for n in range(1, N_FOUNDERS)], labels=[0] * (N_FOUNDERS - 1))
    assert not founders_kept(before, after=without)


@pytest.mark.parametrize(("first", "share", "passes"), [(0, 0.0, True), (2, 0.25, True), (6, 0.75, False)])
def test_what_no_longer_teaches_counts_and_what_is_added_does_not(first: int, share: float, passes: bool) -> None:
    shares = replaced_shares(store(taught=range(8)), after=store(taught=range(first, 20)))
    assert shares["1"] == share
    checks = {
        one.name: one.passed for one in fact_checks(CandidateFacts(replaced_share=shares), settings=GateSettings())
    }
    assert checks["G14 support"] is passes


def test_a_row_that_teaches_another_class_now_has_left_its_own() -> None:
    before = store(taught=range(8))
    turned = SupportIndex(before.image, np.where(before.labels == 1, 0, before.labels), before.names)
    assert replaced_shares(before, after=turned)["1"] == 1.0
