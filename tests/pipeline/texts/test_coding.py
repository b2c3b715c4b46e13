"""From a dictionary to the bank of a CODER head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.heads.coder.coding import Kind, unit
from pipeline.heads.coder.explain import explain
from pipeline.heads.coder.head import make_coder_head
from pipeline.texts.coding import StoredTexts, encode_dictionary, one_to_one_of, sentences_of
from pipeline.types import Features
from tests.pipeline.texts import making_texts as making


def test_rows_stand_class_after_class_with_only_the_texts_in_use(tmp_path: Path) -> None:
    rows = [(s.class_id, s.kind.name.lower(), s.phrase) for s in sentences_of(making.small(tmp_path))]
    assert rows == [
        ("ok", "attribute", "an even face"),
        ("ok", "attribute", "sharp edges"),
        ("ok", "attribute", "one plain shade"),
        ("ok", "name", "clean plate"),
        ("scratched", "attribute", "a thin line"),
        ("scratched", "attribute", "a bright groove"),
        ("scratched", "attribute", "a long mark"),
        ("scratched", "analogous", "a skate mark on ice"),
        ("scratched", "name", "scratched plate"),
        ("scratched", "synonym", "scored plate"),
    ]


def test_phrases_become_sentences_by_the_forms_of_the_file(tmp_path: Path) -> None:
    sentences = {s.phrase: s.wordings for s in sentences_of(making.small(tmp_path))}
    assert sentences["a thin line"] == ("a photo of a scratched plate, a thin line.",)
    assert sentences["a skate mark on ice"] == ("a photo of a scratched plate, similar to a skate mark on ice.",)
    assert sentences["scored plate"] == ("a photo of a scored plate.", "an image of a scored plate.")
    assert one_to_one_of(making.small(tmp_path)) == (
        ("scratched", "ok", "a photo of a scratched plate, a line across the face."),
    )


def test_names_are_averaged_over_templates_and_every_row_is_unit(tmp_path: Path) -> None:
    tower = making.WordTower()
    coded = encode_dictionary(making.small(tmp_path), encoder=tower)
    np.testing.assert_allclose(np.linalg.norm(coded.rows.vectors, axis=1), 1.0, atol=1e-6)
    row = coded.phrases.index("clean plate")
    both = tower.encode_texts(["a photo of a clean plate.", "an image of a clean plate."])
    np.testing.assert_allclose(coded.rows.vectors[row], unit(both.mean(axis=0)[None])[0], atol=1e-6)


def test_no_sentence_is_encoded_twice(tmp_path: Path) -> None:
    tower = making.WordTower()
    twice = making.SMALL.replace('"a line across the face"', '"a thin line"')  # stands as an attribute too
    encode_dictionary(making.small(tmp_path, text=twice), encoder=tower)
    assert len(tower.asked) == len(set(tower.asked)) == 13


def test_the_head_of_a_dictionary_sees_and_explains_in_the_words_of_the_file(tmp_path: Path) -> None:
    tower = making.WordTower()
    coded = encode_dictionary(making.small(tmp_path), encoder=tower)
    head = make_coder_head(
        coded.rows, classes=coded.classes, scale=coded.scale, pairs=coded.pairs, sentences=coded.phrases
    )
    image = tower.encode_texts(["scored groove line"])
    assert head.classes[int(head.score(Features(image=image)).logits.argmax())] == "scratched"
    told = explain(head, image=image[0])
    assert told.winner.name == "scratched"
    assert {"scored plate"} == {t.text for t in told.winner.texts if t.kind >= Kind.NAME}


def test_stored_vectors_stand_in_for_an_encoder_and_name_what_they_lack(tmp_path: Path) -> None:
    tower, dictionary = making.WordTower(), making.small(tmp_path)
    whole = encode_dictionary(dictionary, encoder=tower)
    asked = tuple(tower.asked)
    stored = StoredTexts(asked, vectors=tower.encode_texts(asked))
    np.testing.assert_array_equal(encode_dictionary(dictionary, encoder=stored).rows.vectors, whole.rows.vectors)
    with pytest.raises(DataError, match="a vector for 'rust'"):
        stored.encode_texts(["rust"])
