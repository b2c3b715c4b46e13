"""Explanations of CODER heads add up to what the head said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Form, Kind
from pipeline.heads.coder.explain import explain
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.types import Features
from tests.pipeline.heads import coder_making as making


def heads() -> list[CoderHead | CoderAdapterHead]:
    pairs, image = making.all_pairs(), making.images()
    corrected = making.head(pairs=pairs, image=image)
    published = making.head(Form.PUBLISHED, pairs=pairs)
    return [
        corrected,
        dataclasses.replace(corrected, gamma=30.0),
        dataclasses.replace(corrected, top_k=4),
        published,
        dataclasses.replace(published, theta=1.01),
        making.adapter(),
        making.adapter(Form.PUBLISHED),
    ]


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("top_k", [1, 5])
def test_contributions_add_up_to_the_logits_of_winner_and_rival(number: int, top_k: int) -> None:
    head = heads()[number]
    for row in making.images(25, seed=31):
        told = explain(head, image=row, top_k=top_k)
        logits = head.score(Features(image=row[None])).logits[0]
        order = np.argsort(-logits)
        assert [told.winner.name, told.rival.name] == [head.classes[c] for c in order[:2]]
        for evidence, c in ((told.winner, order[0]), (told.rival, order[1])):
            assert evidence.total == pytest.approx(logits[c], abs=1e-9)
            assert len(evidence.texts) <= top_k
        assert told.winner.total - told.rival.total == pytest.approx(told.margin, abs=1e-9)


def test_texts_stand_with_their_class_and_the_largest_first() -> None:
    head = heads()[0]
    assert isinstance(head, CoderHead)
    told = explain(head, image=making.images()[0], top_k=3)
    for evidence in (told.winner, told.rival):
        values = [text.contribution for text in evidence.texts]
        assert values == sorted(values, reverse=True)
        assert {head.classes[head.texts.class_of[text.row]] for text in evidence.texts} == {evidence.name}
        assert all(text.text == f"text {text.row}" for text in evidence.texts)


def test_of_the_names_of_a_class_only_the_best_is_listed() -> None:
    told = explain(making.head(), image=making.bank().vectors[making.bank().kind_of == Kind.SYNONYM][0], top_k=99)
    for evidence in (told.winner, told.rival):
        assert sum(text.kind >= Kind.NAME for text in evidence.texts) == 1


def test_a_text_that_says_the_same_of_every_part_does_not_rank_first() -> None:
    image = making.images(30)
    plain, centred = making.head(), making.head(image=image)
    generic = {t.row: t for t in explain(plain, image=image[0], top_k=99).winner.texts}
    told = explain(centred, image=image[0], top_k=99)
    assert centred.mean_code is not None
    scale = {row: t.contribution / t.cosine for row, t in generic.items()}
    for text in told.winner.texts:
        expected = scale[text.row] * (text.cosine - centred.mean_code[text.row])
        assert text.contribution == pytest.approx(expected, abs=1e-9)


def test_the_nearest_support_images_come_with_what_they_add() -> None:
    head = making.adapter(alpha=100.0)
    told = explain(head, image=head.key_image[5], top_k=2)
    evidence = told.winner
    assert evidence.name == "scratch"  # as image 5 is
    assert evidence.support[0].row == 5
    assert evidence.support[0].affinity == pytest.approx(1.0)
    assert evidence.support[0].contribution == pytest.approx(head.alpha)


def test_a_head_without_sentences_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="sentences"):
        explain(dataclasses.replace(making.head(), sentences=()), image=making.images()[0])
