"""Exemplars are chosen by herding, by a fair draw of the recent ones, and by margin where two people agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.support.exemplars import Caps, Role
from pipeline.adaptation.support.selection import assign_roles, draw_recent, hardest, herd
from tests.adaptation.support.making_support import DAY, NOW, unit

CAPS = Caps(founders=4, herd=6, recent=5, hard=3)


def rows(n: int) -> np.ndarray:
    return np.stack([unit(i) for i in range(n)])


def test_each_herded_row_brings_the_mean_as_near_as_any_could() -> None:
    x = rows(12).astype(np.float64)
    mean = x.mean(axis=0)
    chosen = herd(rows(12), n=6).tolist()
    for k in range(6):
        before, free = x[chosen[:k]].sum(axis=0), [i for i in range(12) if i not in chosen[:k]]
        distances = {i: np.linalg.norm(mean - (before + x[i]) / (k + 1)) for i in free}
        assert distances[chosen[k]] <= min(distances.values()) + 1e-9


def test_herding_stays_nearer_to_the_mean_than_a_random_draw() -> None:
    x = rows(200)
    rng = np.random.default_rng(0)

    def miss(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(x[chosen].mean(axis=0) - x.mean(axis=0)))

    drawn = np.mean([miss(rng.permutation(200)[:20]) for _ in range(50)])
    assert miss(herd(x, n=20)) < 0.2 * drawn


def test_founders_count_when_the_herd_is_chosen() -> None:
    kept = np.stack([unit(i, towards=0, noise=0.01) for i in range(4)])
    x = np.stack([unit(10, towards=0, noise=0.01), unit(11, towards=1, noise=0.01)])
    assert herd(x, n=1, kept=kept).tolist() == [1], "the side that founders lack"


def test_all_rows_are_herded_where_there_are_few() -> None:
    assert sorted(herd(rows(3), n=10).tolist()) == [0, 1, 2]
    assert herd(rows(3)[:0], n=10).tolist() == []


def test_the_recent_draw_is_fair() -> None:
    ids, at = [f"e{i}" for i in range(20)], np.full(20, NOW)
    times = np.zeros(20)
    for seed in range(2_000):
        times[draw_recent(ids, added_at=at, at=NOW, n=5, max_age_s=DAY, seed=seed)] += 1
    expected = 2_000 * 5 / 20
    assert (((times - expected) ** 2) / (expected * 0.75)).sum() < 43.8  # chi-squared, 19 degrees, 0.1 %


@settings(deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_a_reservoir_fed_in_parts_is_the_one_drawn_at_once(order: list[int], cut: int) -> None:
    def draw(which: list[int]) -> list[int]:
        ids = [f"e{i}" for i in which]
        return [which[k] for k in draw_recent(ids, added_at=np.zeros(len(ids)), at=0.0, n=4, max_age_s=1.0, seed=7)]

    assert sorted(draw(draw(order[:cut]) + order[cut:])) == sorted(draw(list(range(12))))


def test_old_rows_are_not_recent() -> None:
    age = np.asarray([NOW - 91 * DAY, NOW - 89 * DAY])
    assert draw_recent(["a", "b"], added_at=age, at=NOW, n=5, max_age_s=90 * DAY, seed=0).tolist() == [1]


def test_hard_rows_have_the_lowest_margins_among_those_two_people_agree_on() -> None:
    margins = np.asarray([0.5, 0.01, 0.3, np.nan, 0.2])
    double = np.asarray([True, False, True, True, True])
    assert hardest(margins, double_labelled=double, n=2).tolist() == [4, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.randoms())
def test_roles_keep_the_caps_and_do_not_depend_on_order(n: int, random: object) -> None:
    order = list(range(n))
    random.shuffle(order)  # type: ignore[attr-defined]

    def assign(which: list[int]) -> dict[int, Role | None]:
        roles = assign_roles(
            [f"e{i:02d}" for i in which],
            embeddings=np.stack([unit(i) for i in which]) if which else np.zeros((0, 8), np.float32),
            founders=np.zeros((0, 8), np.float16),
            margins=np.asarray([i / 50 for i in which]),
            double_labelled=np.asarray([i % 2 == 0 for i in which], np.bool_),
            added_at=np.asarray([NOW - i * 10 * DAY for i in which]),
            at=NOW,
            caps=CAPS,
        )
        return dict(zip(which, roles, strict=True))

    found = assign(list(range(n)))
    assert assign(order) == found
    held = list(found.values())
    assert held.count(Role.HERD) <= CAPS.herd
    assert held.count(Role.RECENT) <= CAPS.recent
    assert held.count(Role.HARD) <= CAPS.hard
    if n >= 14:
        assert sum(role is not None for role in held) == CAPS.herd + CAPS.recent + CAPS.hard
