"""CODER's text classifier and rerank, rule by rule, on made-up texts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Form, Kind, TextRows, class_sums, class_vectors, code, uniform_weights, unit
from pipeline.heads.coder.head import make_coder_head
from pipeline.heads.coder.neighbours import choose_neighbours, neighbour_curve, neighbour_scores
from pipeline.heads.coder.rerank import (
    added_scores,
    choose_gamma,
    pair_evidence,
    pair_vectors,
    published_labels,
    replaced_scores,
    triggered,
)
from pipeline.types import Features
from tests.pipeline.heads import coder_making as making


def by_hand(image: np.ndarray, *, texts: TextRows) -> np.ndarray:
    """The heuristic classifier as the paper words it, text by text."""
    cosines = unit(image) @ texts.vectors.T
    out = np.zeros((len(image), texts.n_classes))
    for c in range(texts.n_classes):
        own = texts.class_of == c
        votes = cosines[:, own & (texts.kind_of < Kind.NAME)]
        best_name = cosines[:, own & (texts.kind_of >= Kind.NAME)].max(axis=1, keepdims=True)
        out[:, c] = 100.0 * np.concatenate([votes, best_name], axis=1).mean(axis=1)
    return out


def test_the_published_score_is_the_mean_of_descriptions_and_the_best_name() -> None:
    image = making.images()
    scores = making.head(Form.PUBLISHED).score(Features(image=image)).logits
    np.testing.assert_allclose(scores, by_hand(image, texts=making.bank()), rtol=1e-12)


def test_the_length_of_an_image_changes_nothing() -> None:
    image, head = making.images(), making.head()
    once, twice = (head.score(Features(image=x)).logits for x in (image, 2.0 * image))
    np.testing.assert_allclose(once, twice, rtol=1e-12)


def test_the_corrected_score_forgets_how_tight_the_texts_of_a_class_are() -> None:
    """Published, a class whose texts agree has a longer vector and wins by that alone."""
    apart, direction = np.eye(making.D)[[1, 2, 3]], np.eye(making.D)[:1]
    loose = unit(np.concatenate([direction + apart, direction - apart]))
    tight = np.repeat(unit(direction + 0.3 * np.eye(making.D)[[4]]), 6, axis=0)
    vectors = np.concatenate([loose, tight])
    kind = np.tile([0, 0, 0, 0, 0, 2], 2)
    texts = TextRows(vectors, np.repeat([0, 1], 6), kind, 2)
    winner = {}
    for form in Form:
        head = make_coder_head(texts, classes=("loose", "tight"), form=form)
        winner[form] = int(head.score(Features(image=direction)).logits.argmax())
    assert winner == {Form.PUBLISHED: 1, Form.CORRECTED: 0}


def test_the_corrected_class_vectors_are_unit_vectors_less_their_mean() -> None:
    sums = class_sums(making.bank())
    corrected = class_vectors(sums, form=Form.CORRECTED)
    np.testing.assert_allclose(np.linalg.norm(corrected.vectors + corrected.centre, axis=1), 1.0, rtol=1e-12)
    first_names = [0, 1, 4, 5]
    single = dataclasses.replace(sums, naming=sums.naming[first_names], naming_class=np.arange(4))
    np.testing.assert_allclose(class_vectors(single).vectors.mean(axis=0), 0.0, atol=1e-15)


def test_a_synonym_can_only_raise_its_class() -> None:
    image = making.images()
    with_synonyms = by_hand(image, texts=making.bank())
    head = making.head(Form.PUBLISHED)
    without = make_coder_head(making.bank().without(Kind.SYNONYM), classes=making.CLASSES, form=Form.PUBLISHED)
    difference = with_synonyms - without.score(Features(image=image)).logits
    assert (difference >= -1e-12).all()
    assert (difference[:, [0, 2]] < 1e-12).all()  # these have none
    np.testing.assert_allclose(head.score(Features(image=image)).logits, with_synonyms, rtol=1e-12)


@pytest.mark.parametrize("form", list(Form))
def test_a_row_does_not_depend_on_the_other_rows(form: Form) -> None:
    image = making.images().astype(np.float32)
    for head in (making.head(form, pairs=making.all_pairs()), making.adapter(form)):
        together = head.score(Features(image=image)).logits
        alone = np.concatenate([head.score(Features(image=row[None])).logits for row in image])
        np.testing.assert_allclose(together, alone, atol=2e-5)
        assert together.dtype == np.float32


def test_a_class_without_a_name_is_refused() -> None:
    texts = making.bank()
    keep = texts.class_of != 2
    with pytest.raises(DataError, match="class numbers \\[2\\]"):
        TextRows(texts.vectors[keep], texts.class_of[keep], texts.kind_of[keep], 4)


def test_weights_shift_the_score_towards_the_heavier_text() -> None:
    texts = making.bank()
    weights = uniform_weights(texts)
    own = np.flatnonzero(texts.class_of == 0)
    weights[own] = 0.0
    weights[own[1]] = 1.0
    head = make_coder_head(texts, classes=making.CLASSES, weights=weights, form=Form.PUBLISHED)
    image = making.images()
    np.testing.assert_allclose(
        head.score(Features(image=image)).logits[:, 0], 100.0 * code(image, bank=texts.vectors)[:, own[1]], rtol=1e-12
    )


def test_all_neighbours_together_rank_as_the_mean_does() -> None:
    texts, image = making.bank(), making.images()
    weights = uniform_weights(texts)
    every = neighbour_scores(image, texts=texts, weights=weights, k=None, scale=100.0)
    mean = by_hand(image, texts=texts)
    np.testing.assert_allclose(np.diff(every, axis=1), np.diff(mean, axis=1), atol=1e-10)


def test_one_neighbour_gives_the_class_of_the_nearest_text() -> None:
    texts, image = making.bank(), making.images(200)
    weights = uniform_weights(texts)
    scores = neighbour_scores(image, texts=texts, weights=weights, k=1, scale=1.0)
    nearest = (unit(image) @ (texts.vectors - texts.vectors.mean(axis=0)).T).argmax(axis=1)
    np.testing.assert_array_equal(scores.argmax(axis=1), texts.class_of[nearest])
    assert (np.count_nonzero(scores, axis=1) == 1).all()
    head = dataclasses.replace(making.head(), top_k=1)
    np.testing.assert_allclose(head.score(Features(image=image)).logits, 100.0 * scores, rtol=1e-12)


def test_neighbours_vote_with_what_they_say_beyond_the_mean_text() -> None:
    """Without it two lukewarm texts would outvote the one that fits."""
    texts, image = making.bank().without(Kind.SYNONYM), making.images()
    weights = uniform_weights(texts)
    centred = unit(image) @ (texts.vectors - texts.vectors.mean(axis=0)).T
    expected = np.zeros((len(image), 4))
    for row, codes in enumerate(centred):
        for j in np.argsort(-codes)[:3]:
            expected[row, texts.class_of[j]] += weights[j] * codes[j]
    scores = neighbour_scores(image, texts=texts, weights=weights, k=3, scale=1.0)
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_a_small_k_is_chosen_only_where_it_gains_more_than_its_error() -> None:
    texts = making.bank()
    one_text_right = unit(texts.vectors)  # every image is one text: its nearest neighbour is always right
    curve = neighbour_curve(one_text_right, labels=texts.class_of, texts=texts, neighbours=(1, 3))
    assert [point.k for point in curve] == [1, 3, None]
    assert curve[0].accuracy == 1.0 > curve[-1].accuracy
    assert choose_neighbours(curve) == 1
    assert choose_neighbours(curve[-1:]) is None


def test_margins_are_antisymmetric_and_linear_in_the_mean_texts() -> None:
    of = np.array([[0, 1], [0, 1], [1, 0]])
    texts = making.unit_rows(3, seed=5)
    pairs = pair_vectors(texts, pair_of=of, n_classes=4)
    image, stage1 = making.images(1), np.array([[3.0, 2.0, 1.0, 0.0]])
    evidence = pair_evidence(image, stage1=stage1, pairs=pairs)
    cosines = unit(image) @ texts.T
    expected = float(cosines[0, :2].mean() - cosines[0, 2])
    assert evidence.margins[0, 0, 1] == pytest.approx(expected, rel=1e-12)
    assert evidence.margins[0, 1, 0] == pytest.approx(-expected, rel=1e-12)


def test_a_pair_with_texts_in_one_direction_only_says_nothing_and_still_counts_in_the_mean() -> None:
    of = np.array([[0, 1], [1, 0], [0, 2]])
    pairs = pair_vectors(making.unit_rows(3, seed=5), pair_of=of, n_classes=4)
    evidence = pair_evidence(making.images(1), stage1=np.array([[3.0, 2.0, 1.0, 0.0]]), pairs=pairs)
    assert evidence.margins[0, 0, 2] == 0.0 == evidence.margins[0, 2, 0]
    assert evidence.means[0, 0] == pytest.approx(evidence.margins[0, 0, 1] / 3.0)  # of three rivals


def test_no_texts_at_all_leave_every_margin_at_zero() -> None:
    pairs = pair_vectors(np.zeros((0, making.D)), pair_of=np.zeros((0, 2), np.int64), n_classes=4)
    evidence = pair_evidence(making.images(), stage1=making.images()[:, :4], pairs=pairs)
    assert not evidence.margins.any()


def test_a_text_that_tells_a_class_from_itself_is_refused() -> None:
    with pytest.raises(DataError, match="two different classes"):
        pair_vectors(making.unit_rows(1, seed=5), pair_of=np.array([[1, 1]]), n_classes=4)


def test_the_published_rerank_replaces_and_the_corrected_one_adds() -> None:
    image, stage1 = making.images(40), making.head().stage1(making.images(40))
    evidence = pair_evidence(image, stage1=stage1, pairs=making.all_pairs())
    always = published_labels(stage1, evidence=evidence, theta=1.01)
    np.testing.assert_array_equal(always, evidence.candidates[np.arange(40), evidence.means.argmax(axis=1)])
    np.testing.assert_array_equal(published_labels(stage1, evidence=evidence, theta=0.0), stage1.argmax(axis=1))
    replaced = replaced_scores(stage1, evidence=evidence, theta=1.01)
    np.testing.assert_array_equal(np.sort(replaced, axis=1), np.sort(stage1, axis=1))  # the same scores, handed round
    np.testing.assert_array_equal(added_scores(stage1, evidence=evidence, gamma=0.0), stage1)
    added = added_scores(stage1, evidence=evidence, gamma=10.0) - stage1
    np.testing.assert_allclose(
        np.take_along_axis(added, evidence.candidates, axis=1), 10.0 * evidence.means, atol=1e-12
    )


def test_the_label_gate_leaves_rows_alone_whose_true_class_is_no_candidate() -> None:
    image, stage1 = making.images(40), making.head().stage1(making.images(40))
    evidence = pair_evidence(image, stage1=stage1, pairs=making.all_pairs(), n_candidates=2)
    lowest = stage1.argmin(axis=1)
    gated = published_labels(stage1, evidence=evidence, theta=1.01, labels=lowest)
    np.testing.assert_array_equal(gated, stage1.argmax(axis=1))
    assert (published_labels(stage1, evidence=evidence, theta=1.01) != gated).any()


def test_confusion_is_what_the_rerank_took_off_the_first_stage() -> None:
    image = making.images(40)
    head = dataclasses.replace(making.head(pairs=making.all_pairs()), gamma=30.0)
    scores = head.score(Features(image=image))
    np.testing.assert_allclose(scores.zero_shot - scores.confusion, scores.logits, atol=1e-12)
    assert scores.confusion.any()
    published = dataclasses.replace(making.head(Form.PUBLISHED, pairs=making.all_pairs()), theta=1.01)
    assert (
        published.score(Features(image=image)).logits.argmax(axis=1) != published.stage1(image).argmax(axis=1)
    ).any()


def test_gamma_stays_zero_unless_the_one_to_one_texts_help_beyond_doubt() -> None:
    image, stage1 = making.images(200), making.head().stage1(making.images(200))
    evidence = pair_evidence(image, stage1=stage1, pairs=making.all_pairs())
    useful = added_scores(stage1, evidence=evidence, gamma=100.0).argmax(axis=1)
    choice = choose_gamma(stage1, evidence=evidence, labels=useful)
    assert choice.gamma == 100.0
    assert choice.gain > choice.standard_error > 0.0
    unchanged = choose_gamma(stage1, evidence=evidence, labels=stage1.argmax(axis=1), gammas=(1e-9,))
    assert unchanged.gamma == 0.0


def test_a_gap_equal_to_theta_leaves_stage_one_alone() -> None:
    image, stage1 = making.images(5), making.head().stage1(making.images(5))
    evidence = pair_evidence(image, stage1=stage1, pairs=making.all_pairs())
    at = float(evidence.gap[2])
    assert not triggered(evidence, theta=at)[2]
    assert triggered(evidence, theta=float(np.nextafter(at, 1.0)))[2]
