"""Text weights are learned out of fold and shrunk towards equal shares."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Form, Kind, TextRows, text_rows, uniform_weights, unit
from pipeline.heads.coder.weights import _Shares, tune_text_weights
from tests.pipeline.heads import coder_making as making

N_CLASSES, N_PER_CLASS, N_TEXTS, D = 6, 30, 8, 48


def line(*, useful: bool) -> tuple[TextRows, np.ndarray, np.ndarray]:
    """Every other attribute is noise, or none is."""
    rng = np.random.default_rng(0)
    mean = unit(rng.normal(size=(N_CLASSES, D)))
    of = np.repeat(np.arange(N_CLASSES), N_TEXTS)
    attributes = mean[of] + rng.normal(size=(of.size, D)) / 8
    if not useful:
        attributes[::2] = rng.normal(size=attributes[::2].shape)
    parts = [(Kind.ATTRIBUTE, unit(attributes), of), (Kind.NAME, unit(mean + 0.1), np.arange(N_CLASSES))]
    labels = np.repeat(np.arange(N_CLASSES), N_PER_CLASS)
    image = unit(0.5 * mean[labels] + rng.normal(size=(labels.size, D)) / 6)
    return text_rows(parts, n_classes=N_CLASSES), image, labels


def test_noise_loses_weight_and_held_out_accuracy_rises() -> None:
    texts, image, labels = line(useful=False)
    tuned = tune_text_weights(image, labels=labels, groups=np.arange(labels.size), texts=texts)
    assert tuned.ridge is not None
    chosen = next(point for point in tuned.curve if point.ridge == tuned.ridge)
    assert chosen.gain > chosen.standard_error
    attributes = np.flatnonzero(texts.kind_of == Kind.ATTRIBUTE)
    assert tuned.weights[attributes[1::2]].mean() > 1.3 * tuned.weights[attributes[::2]].mean()
    sums = np.bincount(texts.class_of, weights=tuned.weights)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-12)
    assert tuned.weights.min() >= 0


def test_equal_shares_stay_where_all_texts_are_good() -> None:
    texts, image, labels = line(useful=True)
    tuned = tune_text_weights(image, labels=labels, groups=np.arange(labels.size), texts=texts)
    assert tuned.ridge is None
    np.testing.assert_array_equal(tuned.weights, uniform_weights(texts))
    assert [point.ridge for point in tuned.curve] == [None, 1.0, 10.0, 100.0]


def test_one_image_per_class_changes_no_weight() -> None:
    texts, image, labels = line(useful=False)
    one = np.arange(0, labels.size, N_PER_CLASS)
    tuned = tune_text_weights(image[one], labels=labels[one], groups=one, texts=texts)
    assert (tuned.ridge, tuned.curve) == (None, ())


def test_the_same_rows_give_the_same_weights() -> None:
    texts, image, labels = line(useful=False)
    a, b = (tune_text_weights(image, labels=labels, groups=np.arange(labels.size), texts=texts) for _ in range(2))
    np.testing.assert_array_equal(a.weights, b.weights)


def test_a_strong_ridge_holds_the_weights_at_equal_shares() -> None:
    texts, image, labels = line(useful=False)
    shares = _Shares(texts, form=Form.CORRECTED, scale=100.0)
    far, near = (shares.fit(image, labels=labels, ridge=ridge, temperature=5.0) for ridge in (1.0, 1e6))
    equal = uniform_weights(texts)
    assert np.abs(near - equal).max() < 1e-3 < np.abs(far - equal).max()


@pytest.mark.parametrize("form", list(Form))
def test_the_gradient_is_that_of_the_loss(form: Form) -> None:
    texts, image = making.bank(), making.images()
    shares = _Shares(texts, form=form, scale=20.0)
    codes, labels = shares.codes(image), np.arange(len(image)) % 4
    theta = 0.3 * np.random.default_rng(2).normal(size=shares.n_voters)

    def loss(at: np.ndarray) -> float:
        return shares.loss(at, codes=codes, labels=labels, temperature=2.0)[0]

    gradient = shares.loss(theta, codes=codes, labels=labels, temperature=2.0)[1]
    steps = 1e-6 * np.eye(shares.n_voters)
    numeric = [(loss(theta + step) - loss(theta - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)


def test_the_fit_ends_where_the_penalised_gradient_vanishes() -> None:
    texts, image, labels = line(useful=False)
    shares = _Shares(texts, form=Form.CORRECTED, scale=100.0)
    weights = shares.fit(image, labels=labels, ridge=10.0, temperature=5.0)
    voters = np.append(np.flatnonzero(texts.kind_of == Kind.ATTRIBUTE), texts.naming)
    theta = np.log(weights[voters])
    of = texts.class_of[voters]
    theta -= (np.bincount(of, weights=theta) / np.bincount(of))[of]  # the penalty leaves no common part

    def gradient(at: np.ndarray) -> np.ndarray:
        _, by_theta = shares.loss(at, codes=shares.codes(image), labels=labels, temperature=5.0)
        return by_theta + 10.0 * at

    assert np.linalg.norm(gradient(theta)) < 0.01 * np.linalg.norm(gradient(np.zeros_like(theta)))


def test_rows_that_do_not_fit_the_bank_are_refused() -> None:
    texts, image, labels = line(useful=True)
    with pytest.raises(DataError, match="width 48 and labels below 6, got width 47"):
        tune_text_weights(image[:, 1:], labels=labels, groups=np.arange(labels.size), texts=texts)
