"""The CODER-Adapter on made-up support images: folding, views, cache, choice of settings, bundle parts."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BundleError
from pipeline.heads.coder.adapter import cache_logits, mean_views, row_min_max, unit_code
from pipeline.heads.coder.coding import Form, Kind, code, text_rows, unit
from pipeline.heads.coder.gram import fold, text_gram
from pipeline.heads.coder.head import CoderAdapterHead, make_coder_head
from pipeline.heads.coder.parts import coder_from_parts, coder_to_parts
from pipeline.heads.coder.search import DEFAULT_ALPHA, DEFAULT_BETA, choose_adapter
from pipeline.types import Features
from tests.pipeline.heads import coder_making as making


@pytest.mark.parametrize("n_texts", [5, 40])
def test_a_folded_bank_gives_the_inner_products_of_the_whole_one(n_texts: int) -> None:
    bank, image = making.unit_rows(n_texts, seed=1), making.images()
    folded = fold(text_gram(bank).gram)
    assert folded.shape == (min(n_texts, making.D), making.D)
    whole, short = code(image, bank=bank), code(image, bank=folded)
    np.testing.assert_allclose(short @ short.T, whole @ whole.T, atol=1e-12)


def test_the_centred_gram_matrix_is_that_of_the_bank_less_its_mean_text() -> None:
    bank = making.unit_rows(40, seed=1)
    np.testing.assert_allclose(text_gram(bank).centred(), text_gram(bank - bank.mean(axis=0)).gram, atol=1e-12)


def test_long_views_weigh_more_unless_views_are_made_unit() -> None:
    views = np.stack([10.0 * making.unit_rows(3, seed=1), making.unit_rows(3, seed=2)])
    raw, even = mean_views(views), mean_views(views, unit_views=True)
    np.testing.assert_allclose(raw, unit(views.sum(axis=0)), atol=1e-12)
    np.testing.assert_allclose(even, unit(unit(views).sum(axis=0)), atol=1e-12)
    assert np.abs(raw - even).max() > 0.1


def test_min_max_is_taken_by_row_and_equal_affinities_become_ones() -> None:
    stretched = row_min_max(np.array([[0.9, 0.95, 1.0], [0.1, 0.3, 0.2], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(stretched, [[0, 0.5, 1], [0, 1, 0.5], [1, 1, 1]], atol=1e-12)


def test_the_cache_adds_the_kernel_of_each_support_image_to_its_class() -> None:
    affinity, key_class = np.array([[1.0, 0.5, 0.0]]), np.array([2, 0, 2])
    cache = cache_logits(affinity, key_class=key_class, n_classes=4, beta=2.0)
    np.testing.assert_allclose(cache, [[np.exp(-1.0), 0.0, 1.0 + np.exp(-2.0), 0.0]])


def test_published_an_image_unlike_anything_gets_a_full_vote_and_corrected_it_gets_none() -> None:
    """Row-wise min-max makes the best support image count in full, whatever it is."""
    strange = -making.adapter().key_image.sum(axis=0, keepdims=True)
    votes = {}
    for form in Form:
        head = making.adapter(form, alpha=1.0, beta=10.0)
        scores = head.score(Features(image=strange))
        votes[form] = float((scores.logits - scores.zero_shot).max())
    assert votes[Form.PUBLISHED] >= 1.0
    assert votes[Form.CORRECTED] < 0.1


def test_corrected_affinities_are_cosines_of_codes_of_the_centred_bank() -> None:
    head, image = making.adapter(), making.images()
    bank = making.bank().vectors
    bank = bank - bank.mean(axis=0)
    expected = unit_code(image, bank=bank) @ unit_code(head.key_image, bank=bank).T
    np.testing.assert_allclose(head.affinity(image), expected, atol=1e-12)


def separable(*, n_per_class: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a prior that guesses, and affinities that know, up to noise."""
    labels = np.repeat(np.arange(3), n_per_class)
    rng = np.random.default_rng(3)
    base = rng.normal(size=(labels.size, 3))
    affinity = (labels[:, None] == labels) * 0.8 + rng.normal(size=(labels.size, labels.size)) * spread
    return labels, base, np.minimum(affinity, 1.0)


def test_settings_are_chosen_where_support_images_help_on_held_out_ones() -> None:
    labels, base, affinity = separable(n_per_class=8, spread=0.1)
    choice = choose_adapter(base, affinity=affinity, labels=labels, groups=np.arange(labels.size))
    assert choice.alpha > 0
    assert choice.gain > choice.standard_error
    assert choice.n_judged == 24


def test_a_view_of_the_same_image_is_no_evidence() -> None:
    """Only the own source image is near: counting it would look perfect, leaving it out shows nothing is gained."""
    labels, base, _ = separable(n_per_class=8, spread=0.0)
    groups = np.arange(labels.size) // 2  # two views of each image
    affinity = (groups[:, None] == groups).astype(float)
    assert choose_adapter(base, affinity=affinity, labels=labels, groups=groups).alpha == 0.0
    assert choose_adapter(base, affinity=affinity, labels=labels, groups=np.arange(labels.size)).alpha > 0.0


def test_one_image_per_class_leaves_the_defaults() -> None:
    labels, base, affinity = separable(n_per_class=1, spread=0.1)
    choice = choose_adapter(base, affinity=affinity, labels=labels, groups=np.arange(3))
    assert (choice.alpha, choice.beta, choice.n_judged) == (DEFAULT_ALPHA, DEFAULT_BETA, 0)


def test_heads_come_back_from_their_parts_bit_for_bit() -> None:
    image = making.images().astype(np.float32)
    plain = dataclasses.replace(making.head(pairs=making.all_pairs(), image=image), gamma=3.0, theta=0.2)
    for head in (plain, dataclasses.replace(plain, top_k=3), making.adapter()):
        settings, tensors = coder_to_parts(head)
        first = coder_from_parts(settings, tensors=tensors, classes=head.classes)
        settings, tensors = coder_to_parts(first)
        second = coder_from_parts(settings, tensors=tensors, classes=head.classes)
        a, b, c = (h.score(Features(image=image)).logits for h in (head, first, second))
        np.testing.assert_allclose(a, b, atol=1e-3)  # made in double, stored in single
        np.testing.assert_array_equal(b, c)
        assert type(first) is type(head)


def test_parts_of_another_kind_of_head_are_refused() -> None:
    settings, tensors = coder_to_parts(making.head())
    with pytest.raises(BundleError, match="got 'other'"):
        coder_from_parts({**settings, "kind": "other"}, tensors=tensors, classes=making.CLASSES)


@pytest.mark.parametrize("form", list(Form))
def test_on_real_photos_with_real_text_vectors_no_form_falls_below_the_text_head(form: Form, shared_data: Path) -> None:
    """31 Caltech-101 classes, 4 shots: zero-shot .973, logistic regression on the images alone .952."""
    folder = shared_data / "caltech101-paired"
    with (folder / "index.csv").open(encoding="utf-8") as file:
        index = list(csv.DictReader(file))
    image = unit(np.load(folder / "clip_vitb32.npy").astype(np.float32))
    text = unit(np.load(folder / "text_vitb32.npy").astype(np.float32))
    labels = np.array([int(row["label"]) for row in index])
    support = np.array([row["role"] == "support" for row in index])
    names = text_rows([(Kind.NAME, text, np.arange(len(text)))], n_classes=len(text))
    head = CoderAdapterHead(
        prior=make_coder_head(names, classes=tuple(str(c) for c in range(len(text))), form=form),
        gram=text_gram(text),
        key_image=image[support],
        key_class=labels[support],
        alpha=DEFAULT_ALPHA,
        beta=DEFAULT_BETA,
        form=form,
    )
    scores = head.score(Features(image=image[~support]))
    right, right_before = ((s.argmax(axis=1) == labels[~support]).mean() for s in (scores.logits, scores.zero_shot))
    assert right >= right_before > 0.97
