"""A head follows its dictionary: the same as a new one, with only the new sentences encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import unit
from pipeline.heads.coder.gram import text_gram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.texts.coding import encode_dictionary
from pipeline.texts.dictionary import TextDictionary
from pipeline.texts.editing import follow_dictionary
from pipeline.types import Features
from tests.pipeline.texts import making_texts as making

CHANGES = [
    ('"a thin line"', '{text: "a thin line", status: retired}', []),  # one fewer
    ("status: retired", "status: active", ["a photo of a scratched plate, an old word."]),  # one more
    ('"a long mark"', '"a wide mark"', ["a photo of a scratched plate, a wide mark."]),  # one for another
    ('- "scored plate"', "- {text: scored plate, status: draft}", []),
    ("status: draft", "status: active", ["a photo of a 傷.", "an image of a 傷."]),
    ('name: "clean plate"', 'name: "bare plate"', ["a photo of a bare plate.", "an image of a bare plate."]),
    ('"a line across the face"', '"a line"', ["a photo of a scratched plate, a line."]),
]


def made(dictionary: TextDictionary, *, image: np.ndarray | None = None) -> CoderHead:
    coded = encode_dictionary(dictionary, encoder=making.WordTower())
    return make_coder_head(
        coded.rows, classes=coded.classes, pairs=coded.pairs, sentences=coded.phrases, image=image, scale=coded.scale
    )


def adapter(dictionary: TextDictionary) -> CoderAdapterHead:
    keys = unit(np.random.default_rng(3).normal(size=(6, 64)).astype(np.float32))
    prior = made(dictionary, image=keys)
    gram = text_gram(prior.texts.vectors.astype(np.float64))
    return CoderAdapterHead(prior, gram, keys, np.arange(6) % 2, alpha=1.0, beta=5.0)


@pytest.mark.parametrize(("old", "new", "encoded"), CHANGES)
def test_an_edited_dictionary_gives_the_head_a_new_one_would_be(
    tmp_path: Path, old: str, new: str, encoded: list[str]
) -> None:
    before = making.small(tmp_path)
    assert old in making.SMALL
    after = making.small(tmp_path, text=making.SMALL.replace(old, new, 1))
    tower = making.WordTower()
    image = unit(np.random.default_rng(4).normal(size=(9, 64)).astype(np.float32))
    head = follow_dictionary(made(before), before=before, after=after, encoder=tower)
    fresh = made(after)
    a, b = (h.score(Features(image=image)).logits for h in (head, fresh))
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert sorted(head.sentences) == sorted(fresh.sentences)
    assert [text for text in encoded if text not in tower.asked] == []
    if "name" not in old:  # else every sentence of the class is new
        assert tower.asked == encoded
    few_shot = follow_dictionary(adapter(before), before=before, after=after, encoder=tower)
    c, d = (h.score(Features(image=image)).logits for h in (few_shot, adapter(after)))
    np.testing.assert_allclose(c, d, atol=1e-3)


def test_one_to_one_texts_that_complete_a_pair_reach_the_head(tmp_path: Path) -> None:
    before = making.small(tmp_path)
    side = '"one plain shade"]\n'
    both = making.SMALL.replace(side, side + '    one_to_one: {scratched: ["no line"]}\n')
    after = making.small(tmp_path, text=both)
    head = follow_dictionary(made(before), before=before, after=after, encoder=making.WordTower())
    fresh = made(after)
    assert head.pairs is not None
    assert fresh.pairs is not None
    np.testing.assert_allclose(head.pairs.difference, fresh.pairs.difference, atol=1e-6)
    assert len(head.pairs.difference) == 1
    none_left = making.SMALL.replace('    one_to_one:\n      ok: ["a line across the face"]\n', "")
    bare = making.small(tmp_path, text=none_left)
    emptied = follow_dictionary(head, before=after, after=bare, encoder=making.WordTower())
    assert emptied.pairs is not None
    assert len(emptied.pairs.difference) == 0


def test_an_unchanged_dictionary_leaves_the_head_itself(tmp_path: Path) -> None:
    dictionary, tower = making.small(tmp_path), making.WordTower()
    head = made(dictionary)
    assert follow_dictionary(head, before=dictionary, after=dictionary, encoder=tower) is head
    assert tower.asked == []


def test_another_class_or_another_head_needs_a_new_fit(tmp_path: Path) -> None:
    before = making.small(tmp_path)
    other = making.small(tmp_path, text=making.SMALL.replace("  ok:", "  fine:"))
    with pytest.raises(DataError, match="expected the classes of"):
        follow_dictionary(made(before), before=before, after=other, encoder=making.WordTower())
    changed = making.small(tmp_path, text=making.SMALL.replace('"a thin line"', '"a line"'))
    with pytest.raises(DataError, match="the texts that the head was made from"):
        follow_dictionary(made(before), before=changed, after=before, encoder=making.WordTower())
