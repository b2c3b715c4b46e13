"""The learning curve: what is carried on from it, and when nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.report.learning import FRACTIONS, Trials, extrapolated, learning_curve, run_trials
from pipeline.heads.fitted import Material
from tests.pipeline.evaluation.report.making_figures import make_support

SIZES = 100 * np.array(FRACTIONS)


def trials(errors: list[int], *, n: int) -> Trials:
    right = np.ones((n, len(FRACTIONS)))
    for column, wrong in enumerate(errors):
        right[:wrong, column] = 0.0
    return Trials(SIZES, right, np.arange(n))


def test_an_error_that_halves_with_twice_the_labels_is_carried_on() -> None:
    curve = extrapolated(trials([160, 80, 53, 40], n=400), n_draws=4, seed=0)
    assert curve.slope == pytest.approx(1.0, abs=0.1)
    assert curve.more is not None
    assert curve.more.n_more == 100
    assert curve.more.gain == pytest.approx(0.05, abs=0.01)
    assert 0 < curve.more.low < curve.more.gain < curve.more.high


def test_a_flat_curve_tells_nothing() -> None:
    assert extrapolated(trials([40, 40, 40, 40], n=400), n_draws=4, seed=0).more is None


def test_few_mistakes_tell_nothing() -> None:
    assert extrapolated(trials([9, 4, 3, 2], n=100), n_draws=4, seed=0).more is None


def test_an_image_judged_twice_is_no_news() -> None:
    once = trials([40, 30, 25, 20], n=200)
    twice = Trials(SIZES, np.repeat(once.right, 2, axis=0), np.repeat(once.image, 2))
    first, second = (extrapolated(one, n_draws=4, seed=0).points[0] for one in (once, twice))
    assert second.high - second.low == pytest.approx(first.high - first.low)


def test_the_fits_see_a_growing_share_and_judge_every_image() -> None:
    support = make_support(per_class=12)
    found = run_trials(support, material=Material(), kind="kernel_ridge", n_draws=4, seed=0)
    assert sorted(found.image) == list(range(36))
    assert found.n_labels.tolist() == [6.75, 13.5, 20.25, 27.0] or np.all(np.diff(found.n_labels) > 0)
    assert found.n_labels[-1] == 27


def test_one_image_per_class_gives_no_curve() -> None:
    curve = learning_curve(make_support(per_class=1), material=Material(), kind="kernel_ridge", n_draws=4)
    assert (curve.points, curve.more) == ((), None)
