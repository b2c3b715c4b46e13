"""Who is asked about what: fair samples with their probability, spread-out teaching frames, hidden honeypots."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.support.choosing import (
    Choice,
    TeachPool,
    choose_audit,
    choose_gate,
    choose_teach,
    class_runs,
    mix_honeypots,
    spread,
)
from pipeline.adaptation.support.labels import Stream
from pipeline.errors import DataError
from pipeline.types import Decision

N = 1_000
IDS = [f"e{i:04d}" for i in range(N)]


def pool(order: np.ndarray | None = None, *, runs: np.ndarray | None = None) -> TeachPool:
    rng = np.random.default_rng(0)
    x, margins, novelty = rng.normal(size=(N, 8)), rng.uniform(size=N), rng.uniform(size=N)
    runs = np.arange(N) if runs is None else runs
    rows = np.arange(N) if order is None else order
    return TeachPool(
        [IDS[i] for i in rows],
        x[rows].astype(np.float32),
        margins[rows].astype(np.float32),
        novelty[rows].astype(np.float32),
        runs[rows],
    )


def row(event_id: str) -> int:
    return int(event_id[1:])


def test_sixty_four_frames_are_taught_of_three_kinds_without_overlap() -> None:
    choices = choose_teach(pool(), seed=1)
    assert Counter(one.why for one in choices) == {"margin": 32, "novelty": 16, "random": 16}
    assert len({one.event_id for one in choices}) == 64
    assert {one.stream for one in choices} == {Stream.TEACH}


def test_unsure_frames_are_from_the_lowest_fifth_and_the_novel_are_the_most_novel() -> None:
    data = pool()
    choices = choose_teach(data, seed=1)
    margin = [row(one.event_id) for one in choices if one.why == "margin"]
    novel = [row(one.event_id) for one in choices if one.why == "novelty"]
    assert data.margins[margin].max() <= np.sort(data.margins)[N // 5 - 1]
    left = [i for i in range(N) if i not in margin]
    assert sorted(data.novelty[novel]) == sorted(np.sort(data.novelty[left])[-16:])


def test_one_label_is_enough_for_a_run_of_one_class() -> None:
    data = pool(runs=np.arange(N) // 10)
    for why in ("margin", "novelty"):
        runs = [row(one.event_id) // 10 for one in choose_teach(data, seed=1) if one.why == why]
        assert len(set(runs)) == len(runs)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_same_seed_chooses_the_same_whatever_the_order(seed: int, shuffle: int) -> None:
    order = np.random.default_rng(shuffle).permutation(N)
    assert choose_teach(pool(order), seed=seed) == choose_teach(pool(), seed=seed)


def test_frames_that_were_asked_about_are_not_chosen_again() -> None:
    first = {one.event_id for one in choose_teach(pool(), seed=1)}
    assert not first & {one.event_id for one in choose_teach(pool(), seed=1, asked=first)}
    decisions = [Decision.ACCEPT] * N
    assert not first & {one.event_id for one in choose_audit(IDS, decisions=decisions, seed=1, asked=first)}
    gate = choose_gate(IDS, champion=["a"] * N, challenger=["b"] * N, n=N, seed=1, asked=first)
    assert len(gate) == N - 64


def test_a_small_pool_is_taken_as_far_as_it_goes() -> None:
    few = TeachPool(
        IDS[:3], np.eye(3, 8, dtype=np.float32), np.ones(3, np.float32), np.ones(3, np.float32), np.arange(3)
    )
    assert {one.event_id for one in choose_teach(few, seed=0)} == set(IDS[:3])
    none = TeachPool([], np.zeros((0, 8), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.arange(0))
    assert choose_teach(none, seed=0) == ()


def test_spread_rows_cover_clusters_that_a_random_draw_misses() -> None:
    x = np.repeat(np.eye(8, dtype=np.float32), [93, 1, 1, 1, 1, 1, 1, 1], axis=0)
    chosen = spread(x, n=8, rng=np.random.default_rng(0))
    assert set(x[chosen].argmax(axis=1)) == set(range(8))


def test_spread_stops_where_only_copies_are_left() -> None:
    assert len(spread(np.ones((10, 8), np.float32), n=5, rng=np.random.default_rng(0))) == 1


def decided(n_accept: int, n_reject: int) -> tuple[list[str], list[Decision]]:
    ids = [f"e{i:05d}" for i in range(n_accept + n_reject)]
    return ids, [Decision.ACCEPT] * n_accept + [Decision.REJECT] * n_reject


@pytest.mark.parametrize(
    ("n_accept", "n_reject", "audited"),
    [(20_000, 500, (100, 50)), (1_000, 7, (30, 1)), (12, 0, (12, 0)), (0, 0, (0, 0))],
)
def test_the_audit_takes_its_rates_and_at_least_thirty(n_accept: int, n_reject: int, audited: tuple[int, int]) -> None:
    ids, decisions = decided(n_accept, n_reject)
    choices = choose_audit(ids, decisions=decisions, seed=3)
    counts = Counter(one.why for one in choices)
    assert (counts["accepted"], counts["rejected"]) == audited
    for one in choices:
        size = n_accept if one.why == "accepted" else n_reject
        assert one.inclusion_probability == pytest.approx(counts[one.why] / size)


def test_review_and_unknown_parts_are_looked_at_anyway_and_not_audited() -> None:
    ids = IDS[:40]
    decisions = [Decision.REVIEW] * 20 + [Decision.UNKNOWN] * 20
    assert choose_audit(ids, decisions=decisions, seed=0) == ()


def test_every_accepted_part_has_the_stated_probability() -> None:
    ids, decisions = decided(200, 0)
    times, rounds = Counter[str](), 2_000
    for seed in range(rounds):
        choices = choose_audit(ids, decisions=decisions, seed=seed)
        times.update(one.event_id for one in choices)
    expected = rounds * choices[0].inclusion_probability
    chi = sum((times[event] - expected) ** 2 for event in ids) / (expected * (1 - choices[0].inclusion_probability))
    assert chi < 267.5  # 199 degrees, 0.1 %


def test_the_audit_estimates_the_escape_rate_without_bias() -> None:
    ids, decisions = decided(400, 0)
    escapes = set(ids[::40])
    found = []
    for seed in range(400):
        choices = choose_audit(ids, decisions=decisions, seed=seed)
        found.append(sum((one.event_id in escapes) / one.inclusion_probability for one in choices))
    assert np.mean(found) == pytest.approx(10, abs=3 * np.std(found) / 20)


def test_the_gate_draws_among_disagreements_only() -> None:
    champion = ["ok"] * N
    challenger = ["ok" if i % 4 else "dent" for i in range(N)]
    choices = choose_gate(IDS, champion=champion, challenger=challenger, n=50, seed=0)
    assert len(choices) == 50
    assert all(row(one.event_id) % 4 == 0 for one in choices)
    assert {one.inclusion_probability for one in choices} == {50 / 250}
    assert choose_gate(IDS, champion=champion, challenger=champion, n=50, seed=0) == ()


KNOWN = {
    "ok": [f"k-ok-{i}" for i in range(20)],
    "dent": ["k-dent-0", "k-dent-1"],
    "scratch": ["k-s-0", "k-s-1", "k-s-2"],
}


def test_eight_honeypots_hide_among_sixty_four_and_classes_take_turns() -> None:
    choices = choose_teach(pool(), seed=1)
    mixed = mix_honeypots(choices, known=KNOWN, seed=5)
    hidden = [one for one in mixed if one.stream is Stream.HONEYPOT]
    assert len(mixed) == 72
    assert Counter(one.truth for one in hidden) == {"ok": 3, "dent": 2, "scratch": 3}
    assert all(one.mixed_into is Stream.TEACH and one.event_id in KNOWN[one.truth or ""] for one in hidden)
    assert [one for one in mixed if one.stream is Stream.TEACH] != list(choices), "shuffled"
    assert mixed == mix_honeypots(choices, known=KNOWN, seed=5)
    places = [i for i, one in enumerate(mixed) if one.stream is Stream.HONEYPOT]
    assert places != list(range(places[0], places[0] + 8))


def test_too_few_known_parts_are_an_error() -> None:
    choices = [Choice(e, Stream.GATE, "disagreement", 1.0) for e in IDS[:64]]
    with pytest.raises(DataError, match="at least 8 parts of known class, got 1"):
        mix_honeypots(choices, known={"ok": ["k"]}, seed=0)
    assert mix_honeypots([], known={}, seed=0) == ()


def test_runs_are_stretches_of_one_label_on_one_source() -> None:
    sources = ["a", "b", "a", "b", "a", "a"]
    assert class_runs(sources, labels=["x", "x", "x", "y", "y", "y"]).tolist() == [0, 1, 0, 2, 3, 3]
