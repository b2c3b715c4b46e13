"""A promise about escapes or labels is kept as often as it says, over many draws; or it is not given."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import certify_mix, certify_sample, fit_label_sets
from pipeline.decision.guarantee import LEVELS, p_value
from pipeline.errors import ConfigError
from tests.pipeline.decision.making_decisions import calibrated, draw_labels

N_DRAWS = 300
GOOD = np.array([True, False, False, False])
LINE = np.array([0.9, 0.06, 0.03, 0.01])
EVEN = np.full(4, 0.25)
NAMES = ("ok", "scratch", "dent", "rust")


def sure(n: int) -> np.ndarray:
    return np.full(n, 0.9999999, np.float32)


def sample(n: int, *, clean: bool = True):  # type: ignore[no-untyped-def]
    is_defect = np.zeros(n, bool)
    is_defect[0] = not clean
    ask = {"max_escape": 0.005, "confidence": 0.95}
    return certify_sample(sure(n), is_defect=is_defect, accepted=np.ones(n, bool), **ask)


def test_598_clean_accepted_parts_certify_half_a_percent_and_597_do_not() -> None:
    assert sample(598).accept_at_least == LEVELS[-1] == 0.0
    short = sample(597)
    assert (short.accept_at_least, short.n_needed) == (None, 598)
    assert "needs 598 clean labels, got 597" in short.statement


def test_one_escape_raises_the_price() -> None:
    assert sample(946, clean=False).accept_at_least is None
    assert sample(947, clean=False).accept_at_least == 0.0


def escape_share(level: float, *, mix: np.ndarray, spread: float) -> float:
    """Of accepted parts, over many parts of the mix; probabilities as of balanced classes."""
    rng = np.random.default_rng(77)
    labels = draw_labels(400_000, mix=mix, rng=rng)
    good = calibrated(labels, mix=EVEN, spread=spread, rng=rng)[:, 0]
    taken = good >= level
    return float((taken & (labels > 0)).sum() / max(taken.sum(), 1))


def violations(levels: list[float | None], *, max_escape: float, spread: float) -> tuple[float, float]:
    """Shares of draws with a certificate, and with a wrong one."""
    given = [level for level in levels if level is not None]
    true = {level: escape_share(level, mix=LINE, spread=spread) for level in set(given)}
    return len(given) / len(levels), sum(true[level] > max_escape for level in given) / len(levels)


def test_on_random_samples_of_the_line_the_limit_is_broken_no_more_often_than_stated() -> None:
    found: list[float | None] = []
    for seed in range(N_DRAWS):
        rng = np.random.default_rng(seed)
        labels = draw_labels(800, mix=LINE, rng=rng)
        good = calibrated(labels, mix=EVEN, spread=0.5, rng=rng)[:, 0]
        one = certify_sample(good, is_defect=labels > 0, accepted=good > 0.0, max_escape=0.01, confidence=0.8)
        found.append(one.accept_at_least)
    certified, wrong = violations(found, max_escape=0.01, spread=0.5)
    assert certified > 0.5  # the test says something
    assert wrong <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / N_DRAWS)


@pytest.mark.parametrize(
    "counts",
    [(100, 180, 90, 30), (100, 100, 100, 100), (5000, 180, 90, 30)],
    ids=["as on the line", "balanced", "many good parts"],
)
def test_on_rows_labelled_class_by_class_the_limit_is_broken_no_more_often_than_stated(
    counts: tuple[int, ...],
) -> None:
    labels, found = np.repeat(np.arange(4), counts), []
    for seed in range(N_DRAWS):
        good = calibrated(labels, mix=EVEN, spread=0.5, rng=np.random.default_rng(seed))[:, 0]
        one = certify_mix(
            good, labels=labels, good=GOOD, accepted=good > 0.0, mix=LINE, max_escape=0.01, confidence=0.8
        )
        found.append(one.accept_at_least)
    certified, wrong = violations(found, max_escape=0.01, spread=0.5)
    assert certified > 0.5
    assert wrong <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / N_DRAWS)


def mix_of(n_defects: int, *, mix: np.ndarray, n_good: int = 200):  # type: ignore[no-untyped-def]
    labels = np.repeat([0, 1], [n_good, n_defects])
    p = np.where(labels == 0, 0.9999999, 0.0).astype(np.float32)
    ask = {"max_escape": 0.005, "confidence": 0.95, "mix": mix}
    return certify_mix(p, labels=labels, good=np.array([True, False]), accepted=p > 0.5, **ask)


def test_a_line_that_is_mostly_good_needs_far_fewer_defects_than_598_and_says_how_many() -> None:
    mix = np.array([0.95, 0.05])
    needed = mix_of(5, mix=mix).n_needed
    assert mix_of(5, mix=mix).accept_at_least is None
    assert 30 < needed < 60
    assert mix_of(needed - 1, mix=mix).accept_at_least is None
    assert mix_of(needed, mix=mix).accept_at_least is not None


def test_a_defect_of_the_line_that_was_never_labelled_counts_as_escaping_always() -> None:
    labels = np.repeat([0, 1], [200, 400])
    p = np.where(labels == 0, 0.9999999, 0.0).astype(np.float32)
    for rare, certified in ((0.001, True), (0.006, False)):
        mix = np.array([0.95 - rare, 0.05, rare])
        one = certify_mix(
            p,
            labels=labels,
            good=np.array([True, False, False]),
            accepted=p > 0.5,
            mix=mix,
            max_escape=0.005,
            confidence=0.95,
        )
        assert (one.accept_at_least is not None) == certified


def test_what_the_policy_does_not_accept_cannot_escape() -> None:
    is_defect = np.arange(1200) % 2 == 1
    ask = {"max_escape": 0.005, "confidence": 0.95}
    assert certify_sample(sure(1200), is_defect=is_defect, accepted=~is_defect, **ask).accept_at_least == 0.0
    assert certify_sample(sure(1200), is_defect=is_defect, accepted=is_defect, **ask).accept_at_least is None


def test_good_parts_that_the_policy_does_not_accept_make_every_escape_weigh_more() -> None:
    labels = np.repeat([0, 1], 400)
    p = np.where(labels == 0, 0.9999999, 0.0).astype(np.float32)
    ask = {"max_escape": 0.005, "confidence": 0.95, "mix": np.array([0.95, 0.05])}
    needed = [
        certify_mix(p, labels=labels, good=np.array([True, False]), accepted=accepted, **ask).n_needed
        for accepted in (p > 0.5, (p > 0.5) & (np.arange(800) % 2 == 0))
    ]
    assert needed[1] > 2 * needed[0]


def test_losses_between_zero_and_one_take_the_smaller_of_both_bounds() -> None:
    assert p_value(np.full(4, 0.5), limit=0.75) == pytest.approx((1.5 * 0.5) ** 2)  # Hoeffding: exp(-4 kl(1/2, 3/4))
    assert p_value(np.full(10, 0.5), limit=0.75) == pytest.approx(np.e * 0.0781269, abs=1e-6)  # Bentkus: e P(X <= 5)


@pytest.mark.parametrize("weights", [(1.0, 0.4, 0.1), (1.0, 0.95, 0.9)])
def test_weighted_losses_are_found_too_few_no_more_often_than_stated(weights: tuple[float, ...]) -> None:
    rng, each = np.random.default_rng(3), np.repeat(weights, 100)
    limit = 0.3 * each.mean()
    rejected = [p_value(each * (rng.random(300) < 0.3), limit=limit) <= 0.2 for _ in range(3000)]
    assert 0.0 < np.mean(rejected) <= 0.2


@pytest.mark.parametrize("counts", [(40, 40, 40, 40), (100, 40, 12, 12)])
def test_label_sets_leave_out_the_truth_no_more_often_than_stated(counts: tuple[int, ...]) -> None:
    labels, alpha = np.repeat(np.arange(4), counts), 0.1
    rng = np.random.default_rng(5)
    fresh_labels = np.repeat(np.arange(4), 2000)
    fresh = calibrated(fresh_labels, mix=EVEN, spread=0.6, rng=rng)
    covered = []
    for seed in range(N_DRAWS):
        given = calibrated(labels, mix=EVEN, spread=0.6, rng=np.random.default_rng(seed))
        sets = fit_label_sets(given, labels=labels, classes=NAMES, alpha=alpha)
        covered.append([sets.contains(fresh)[fresh_labels == c, c].mean() for c in range(4)])
    per_class = np.mean(covered, axis=0)
    assert (per_class >= 1 - alpha - 0.01).all()
    assert per_class.max() < 0.97  # not by taking everything in


def test_rare_classes_share_a_limit_and_too_few_rows_exclude_nothing() -> None:
    labels = np.repeat(np.arange(4), (30, 3, 3, 3))
    given = calibrated(labels, mix=EVEN, spread=0.5, rng=np.random.default_rng(0))
    sets = fit_label_sets(given, labels=labels, classes=NAMES, alpha=0.1)
    assert sets.groups == ("own", "pooled", "pooled", "pooled")
    tight = fit_label_sets(given, labels=labels, classes=NAMES, alpha=0.05)
    assert tight.groups == ("own", "none", "none", "none")
    assert tight.contains(given)[:, 1:].all()
    assert set(tight.as_policy()) == set(NAMES)


def test_shares_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 0\.0 and 0\.95"):
        certify_sample(sure(1), is_defect=np.zeros(1, bool), accepted=np.ones(1, bool), max_escape=0.0, confidence=0.95)
    with pytest.raises(ConfigError, match="alpha between 0 and 1, got 1"):
        fit_label_sets(np.ones((1, 2), np.float32), labels=np.zeros(1, np.int64), classes=("a", "b"), alpha=1.0)
