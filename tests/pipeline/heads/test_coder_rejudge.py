"""An edited CODER head is judged by cached rows, as a fit of its own would judge it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.heads.coder.coding import unit
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.heads.coder.rejudge import rejudged
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.coding import encode_dictionary
from pipeline.texts.dictionary import TextDictionary
from pipeline.texts.editing import follow_dictionary
from pipeline.types import Features
from tests.pipeline.texts import making_texts as making

NOTE = "added"


def _support(*, n: int = 8) -> LabelledFeatures:
    means = making.WordTower().encode_texts(["a photo of a clean plate", "a photo of a scratched plate"])
    labels = np.repeat([0, 1], n)
    image = unit(means[labels] + np.random.default_rng(0).normal(size=(2 * n, 64)) / 5).astype(np.float32)
    return LabelledFeatures(Features(image=image), labels, np.arange(2 * n), ("ok", "scratched"))


def _fitted(texts: TextDictionary, *, kind: str, tune: bool = False) -> FittedHead:
    tower = making.WordTower()
    coded = encode_dictionary(texts, encoder=tower)
    coder = make_coder_head(
        coded.rows, classes=coded.classes, scale=coded.scale, pairs=coded.pairs, sentences=coded.phrases
    )
    material = Material(text=build_zero_shot(texts, encoder=tower), coder=coder)
    return fit_head(_support(), material=material, kind=kind, tune=tune)


def _after(folder: Path, *, kind: str, tune: bool = False) -> FittedHead:
    before, after = making.small(folder), making.small(folder, text=making.SMALL.replace('"a long mark"', '"a mark"'))
    fitted = _fitted(before, kind=kind, tune=tune)
    tower, head = making.WordTower(), fitted.head
    assert isinstance(head, CoderHead | CoderAdapterHead)
    head = head if isinstance(head, CoderHead) else replace(head, alpha=1.0, beta=5.0)  # the images have a say
    image = _support().features.image
    new = (
        follow_dictionary(head, before=before, after=after, encoder=tower, image=image)
        if isinstance(head, CoderHead)
        else follow_dictionary(head, before=before, after=after, encoder=tower)
    )
    return rejudged(
        new,
        support=_support(),
        text=build_zero_shot(after, encoder=tower),
        temperature=fitted.temperature,
        report=fitted.report.to_json(),
        note=NOTE,
    )


def test_a_head_of_texts_alone_is_judged_as_a_new_fit_is(tmp_path: Path) -> None:
    edited = _after(tmp_path, kind="coder")
    fresh = _fitted(making.small(tmp_path, text=making.SMALL.replace('"a long mark"', '"a mark"')), kind="coder")
    assert edited.held_out is not None
    assert fresh.held_out is not None
    np.testing.assert_allclose(edited.held_out.logits, fresh.held_out.logits, atol=1e-3)
    np.testing.assert_array_equal(edited.held_out.labels, fresh.held_out.labels)
    assert edited.temperature == pytest.approx(fresh.temperature, rel=1e-3)
    assert edited.report.accuracy_head == fresh.report.accuracy_head
    assert edited.report.notes == (*fresh.report.notes, NOTE)
    assert (edited.held_out.novelty is None) == (fresh.held_out.novelty is None)


def test_an_adapter_is_judged_without_the_images_of_each_fold(tmp_path: Path) -> None:
    edited = _after(tmp_path, kind="coder_adapter")
    head, rows = edited.head, _support()
    assert isinstance(head, CoderAdapterHead)
    assert edited.held_out is not None
    assert edited.held_out.labels.size == rows.labels.size
    with_own = head.score(rows.features).logits.max(axis=1)
    assert edited.held_out.logits.max(axis=1).mean() < with_own.mean()


def test_what_was_tuned_on_its_rows_has_nothing_held_out(tmp_path: Path) -> None:
    edited = _after(tmp_path, kind="coder", tune=True)
    assert edited.report.accuracy_head.n == 0
    assert edited.held_out is None
