"""Texts come and go without a rebuild, and the result is the rebuild."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Form, Kind, class_sums
from pipeline.heads.coder.edit import adapter_with_text, adapter_without_text, with_text, without_text
from pipeline.heads.coder.gram import text_gram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.types import Features
from tests.pipeline.heads import coder_making as making

EDITS = [(kind, class_id) for kind in Kind for class_id in making.CLASSES]


def rebuilt(head: CoderHead, *, image: np.ndarray | None = None) -> CoderHead:
    return make_coder_head(head.texts, classes=head.classes, form=head.form, sentences=head.sentences, image=image)


def require_equal(edited: CoderHead, *, fresh: CoderHead) -> None:
    for name in ("described", "naming_weight", "n_voters", "naming", "naming_class"):
        np.testing.assert_allclose(getattr(edited.sums, name), getattr(fresh.sums, name), rtol=0, atol=1e-10)
    np.testing.assert_allclose(edited.weights, fresh.weights, rtol=0, atol=1e-10)
    for name in ("vectors", "class_of", "lengths", "centre"):
        np.testing.assert_allclose(getattr(edited.vectors, name), getattr(fresh.vectors, name), rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize(("kind", "class_id"), EDITS)
def test_a_text_more_gives_the_head_made_from_all_texts(kind: Kind, class_id: str, form: Form) -> None:
    vector = making.unit_rows(1, seed=99)[0]
    edited = with_text(making.head(form), vector=vector, class_id=class_id, kind=kind, sentence="a new one")
    require_equal(edited, fresh=rebuilt(edited))
    row = edited.sentences.index("a new one")
    assert (edited.texts.class_of[row], edited.texts.kind_of[row]) == (making.CLASSES.index(class_id), kind)
    position = edited.texts.class_of * len(Kind) + edited.texts.kind_of
    assert (np.diff(position) >= 0).all()
    assert (position[row + 1 :] > position[row]).all()  # the last of its class and kind


@pytest.mark.parametrize("row", range(19))
def test_a_text_fewer_gives_the_head_made_from_the_others(row: int) -> None:
    head = making.head()
    kind, c = head.texts.kind_of[row], head.texts.class_of[row]
    if kind >= Kind.NAME and (head.texts.class_of[head.texts.naming] == c).sum() == 1:
        with pytest.raises(DataError, match=f"class number {c}"):
            without_text(head, row=row)
        return
    edited = without_text(head, row=row)
    require_equal(edited, fresh=rebuilt(edited))
    assert f"text {row}" not in edited.sentences


def test_a_thousand_edits_leave_no_trace() -> None:
    adapter = making.adapter()
    before = adapter.gram.gram
    rng = np.random.default_rng(0)
    for _ in range(500):
        vector = making.unit_rows(1, seed=int(rng.integers(1 << 30)))[0]
        adapter = adapter_with_text(adapter, vector=vector, class_id="dent", kind=Kind.ATTRIBUTE, sentence="passing")
        adapter = adapter_without_text(adapter, row=adapter.prior.sentences.index("passing"))
    np.testing.assert_allclose(adapter.gram.gram, before, rtol=0, atol=1e-10)
    require_equal(adapter.prior, fresh=making.head())


def test_an_edited_adapter_scores_as_a_rebuilt_one_and_its_images_stay() -> None:
    head, image = making.adapter(), making.images()
    vector = making.unit_rows(1, seed=99)[0]
    edited = adapter_with_text(head, vector=vector, class_id="stain", kind=Kind.ATTRIBUTE, sentence="a ring")
    edited = adapter_without_text(edited, row=0)
    fresh = CoderAdapterHead(
        prior=rebuilt(edited.prior, image=head.key_image),
        gram=text_gram(edited.prior.texts.vectors),
        key_image=head.key_image,
        key_class=head.key_class,
        alpha=head.alpha,
        beta=head.beta,
    )
    np.testing.assert_allclose(edited.gram.gram, fresh.gram.gram, rtol=0, atol=1e-10)
    a, b = (h.score(Features(image=image)).logits for h in (edited, fresh))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    assert edited.key_image is head.key_image
    assert edited.prior.mean_code is not None
    assert fresh.prior.mean_code is not None
    np.testing.assert_allclose(edited.prior.mean_code, fresh.prior.mean_code, rtol=0, atol=1e-10)


def test_voters_left_keep_the_proportions_they_were_tuned_to() -> None:
    head = making.head()
    own = np.flatnonzero(head.texts.class_of == 0)  # three attributes, an analogy, a name
    weights = head.weights.copy()
    weights[own] = [0.4, 0.1, 0.2, 0.2, 0.1]
    tuned = dataclasses.replace(head, weights=weights, sums=class_sums(head.texts, weights=weights))
    fewer = without_text(tuned, row=int(own[0]))
    np.testing.assert_allclose(fewer.weights[:4], np.array([0.1, 0.2, 0.2, 0.1]) / 0.6)
    np.testing.assert_allclose(fewer.sums.described, class_sums(fewer.texts, weights=fewer.weights).described)


def test_an_unknown_class_and_a_missing_support_set_are_named() -> None:
    vector = making.unit_rows(1, seed=99)[0]
    with pytest.raises(DataError, match="got class rust"):
        with_text(making.head(), vector=vector, class_id="rust", kind=Kind.NAME, sentence="rust")
    head = making.head(image=making.images())
    with pytest.raises(DataError, match="features of the support set"):
        with_text(head, vector=vector, class_id="ok", kind=Kind.NAME, sentence="fine")


def test_an_adapter_whose_prior_is_not_its_bank_cannot_be_edited() -> None:
    head = dataclasses.replace(making.adapter(), gram=text_gram(making.unit_rows(5, seed=1)))
    with pytest.raises(DataError, match="only the corrected form"):
        adapter_without_text(head, row=0)
