"""Texts of a dictionary: provenance, language, status; what the loader accepts, refuses, keeps and writes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.texts.dictionary import Forms, dump_dictionary, load_dictionary
from pipeline.texts.entries import Provenance, Status, TextKind
from tests.pipeline.texts import making_texts as making


def test_only_active_texts_are_in_use(tmp_path: Path) -> None:
    c = making.small(tmp_path).class_texts("scratched")
    assert c.synonyms == ("scored plate",)
    assert c.attributes == ("a thin line", "a bright groove", "a long mark")
    assert c.analogous == ("a skate mark on ice",)
    assert c.one_to_one == (("ok", ("a line across the face",)),)


def test_a_plain_string_is_an_active_text_of_a_person_in_the_language_of_the_file(tmp_path: Path) -> None:
    texts = making.small(tmp_path).class_texts("scratched").texts
    plain, table = texts[0], texts[1]
    assert (plain.provenance, plain.language, plain.status) == (Provenance.PERSON, "en", Status.ACTIVE)
    assert (table.text, table.language, table.status) == ("傷", "ja", Status.DRAFT)
    assert [t.kind for t in texts].count(TextKind.ATTRIBUTE) == 4


def test_a_written_dictionary_loads_as_the_same_one(tmp_path: Path) -> None:
    before = making.small(tmp_path)
    path = tmp_path / "again.yaml"
    path.write_text(dump_dictionary(before), encoding="utf-8")
    after = dataclasses.replace(load_dictionary(path), source=before.source)
    assert after == before
    assert '"' not in dump_dictionary(before).split("classes:")[0].split("line:")[0]


def test_the_hash_follows_words_in_use_and_nothing_else(tmp_path: Path) -> None:
    before = making.small(tmp_path).sha256
    same = making.SMALL.replace("# ", "").replace("an old word", "another old word").replace("llm", "wordnet")
    assert making.small(tmp_path, text="# a comment\n" + same).sha256 == before
    assert making.small(tmp_path, text=making.SMALL.replace("a thin line", "a thin lines")).sha256 != before
    assert making.small(tmp_path, text=making.SMALL.replace("status: retired", "status: active")).sha256 != before
    forms = making.SMALL.replace("classes:", 'forms: {attribute: "{name} which has {text}"}\nclasses:')
    assert making.small(tmp_path, text=forms).sha256 != before


def test_forms_are_read_and_the_others_stay_as_usual(tmp_path: Path) -> None:
    forms = making.SMALL.replace("classes:", 'forms: {one_to_one: ["{text}", "a {name}: {text}"]}\nclasses:')
    read = making.small(tmp_path, text=forms)
    assert read.forms == Forms(one_to_one=("{text}", "a {name}: {text}"))
    path = tmp_path / "again.yaml"
    path.write_text(dump_dictionary(read), encoding="utf-8")
    assert load_dictionary(path).forms == read.forms


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("status: draft", "status: maybe", "scratched.synonyms\\[1\\].status must be one of active, draft, retired"),
        ("provenance: llm", "provenance: me", "attributes\\[1\\].provenance must be one of person, llm"),
        ("provenance: llm", "author: me", "attributes\\[1\\]: expected only text, provenance, language, status"),
        ('{text: "傷", language', "{language", "synonyms\\[1\\].text must be a text, got None"),
        ('"a thin line"', "5", "attributes\\[0\\] must be a text, or a table"),
        ('"a long mark"', '"A thin line"', "must hold each text once, got 'A thin line' twice"),
        ("      ok: [", "      rust: [", "one_to_one must name other classes of this file, got rust"),
        ("      ok: [", "      scratched: [", "one_to_one must name other classes of this file, got scratched"),
        ("  scratched:\n", "  ok:\n", "key 'ok' stands twice"),
        ("classes:", 'forms: {attribute: "{nam} {text}"}\nclasses:', "must hold {text} once"),
        ("classes:", "forms: {one_to_one: []}\nclasses:", "forms.one_to_one must be a list of texts"),
        ("classes:", "forms: {other: x}\nclasses:", "expected only attribute, analogous, one_to_one, got other"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in making.SMALL
    with pytest.raises(DataError, match=message) as caught:
        making.small(tmp_path, text=making.SMALL.replace(old, new, 1))
    assert "small.yaml" in str(caught.value)


def test_an_unknown_class_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one of the classes ok, scratched, got rust"):
        making.small(tmp_path).class_texts("rust")
