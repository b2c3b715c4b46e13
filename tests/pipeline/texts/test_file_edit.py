"""An edit of a dictionary's file changes what was meant, and no other character."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.texts.dictionary import TextDictionary, dump_dictionary
from pipeline.texts.entries import Status, Text, TextKind
from pipeline.texts.file_edit import inserted, renamed, taken_out, with_added, with_name, with_removed
from tests.pipeline.texts import making_texts as making

COMMENTED = """# of the shop
schema_version: 1
line: small  # line 4
language: en
templates: ["a photo of a {}."]
classes:
  ok:
    name: "clean plate"     # as the shop says
    synonyms:
    attributes: ["an even face", 'sharp edges']  # two
  # the bad one
  "bad: one":
    name: scratched plate
    attributes:
      - "a thin line"  # seen on Monday
      - {text: "a bright groove", provenance: llm, status: draft}
      - text: a long mark
        status: active
    one_to_one:
      ok:
        - "a line across"
  third: {name: third, attributes: [one]}
"""
BAD = "bad: one"


def _text(text: str, kind: TextKind = TextKind.ATTRIBUTE, rival: str | None = None) -> Text:
    return Text(text, kind, "en", rival=rival)


def _read(folder: Path, content: str = COMMENTED) -> TextDictionary:
    return making.small(folder, text=content)


def _changed(before: str, after: str) -> list[str]:
    """Lines of `before` that are not in `after`."""
    return [line for line in before.splitlines() if line not in after.splitlines()]


@pytest.mark.parametrize(
    ("class_id", "text", "n_changed"),
    [
        ("ok", _text('a "quoted" face: # no comment'), 1),
        ("ok", _text("spotless", TextKind.SYNONYM), 1),
        ("ok", _text("a mirror", TextKind.ANALOGOUS), 0),
        ("ok", _text("no line", TextKind.ONE_TO_ONE, rival=BAD), 0),
        (BAD, _text("傷 'x'"), 0),
        (BAD, _text("scored", TextKind.SYNONYM), 0),
        (BAD, _text("it is longer", TextKind.ONE_TO_ONE, rival="ok"), 0),
        (BAD, _text("not the third", TextKind.ONE_TO_ONE, rival="third"), 0),
        ("third", _text("two"), 1),
        ("third", _text("a name", TextKind.SYNONYM), 1),
        ("third", _text("unlike", TextKind.ONE_TO_ONE, rival="ok"), 1),
    ],
)
def test_an_added_text_is_there_and_all_else_stays(tmp_path: Path, class_id: str, text: Text, n_changed: int) -> None:
    wanted = with_added(_read(tmp_path), class_id=class_id, text=text)
    content = inserted(COMMENTED, class_id=class_id, text=text)
    assert dump_dictionary(_read(tmp_path, content)) == dump_dictionary(wanted)
    assert len(_changed(COMMENTED, content)) == n_changed
    assert content.count("#") >= COMMENTED.count("#")


@pytest.mark.parametrize(
    ("class_id", "text"),
    [
        ("ok", _text("an even face")),
        ("ok", _text("sharp edges")),
        (BAD, _text("A thin line")),
        (BAD, _text("a bright groove")),
        (BAD, _text("a long mark")),
        (BAD, _text("a line across", TextKind.ONE_TO_ONE, rival="ok")),
        ("third", _text("one")),
    ],
)
def test_a_removed_text_is_gone_and_all_else_stays(tmp_path: Path, class_id: str, text: Text) -> None:
    wanted = with_removed(_read(tmp_path), class_id=class_id, text=text)
    content = taken_out(COMMENTED, class_id=class_id, text=text)
    read = _read(tmp_path, content)
    assert read.class_texts(class_id).texts == wanted.class_texts(class_id).texts
    assert read.sha256 == wanted.sha256
    assert len(_changed(COMMENTED, content)) <= 2


def test_taking_out_what_was_put_in_gives_the_same_file() -> None:
    text = _text("a new one")
    for class_id in ("ok", BAD, "third"):
        assert taken_out(inserted(COMMENTED, class_id=class_id, text=text), class_id=class_id, text=text) == COMMENTED


def test_a_class_gets_another_name(tmp_path: Path) -> None:
    for class_id in ("ok", BAD, "third"):
        content = renamed(COMMENTED, class_id=class_id, name="bare: plate")
        assert _read(tmp_path, content).class_texts(class_id).name == "bare: plate"
        wanted = with_name(_read(tmp_path), class_id=class_id, name="bare: plate")
        assert dump_dictionary(_read(tmp_path, content)) == dump_dictionary(wanted)


def test_a_file_without_its_last_newline_takes_one_more_text(tmp_path: Path) -> None:
    content = COMMENTED.removesuffix("  third: {name: third, attributes: [one]}\n").removesuffix("\n")
    text = _text("it is longer", TextKind.ONE_TO_ONE, rival="ok")
    read = _read(tmp_path, inserted(content, class_id=BAD, text=text))
    assert read.class_texts(BAD).one_to_one == (("ok", ("a line across", "it is longer")),)


def test_a_draft_that_is_added_is_taken_into_use(tmp_path: Path) -> None:
    after = with_added(_read(tmp_path), class_id=BAD, text=_text("a bright groove"))
    found = [t for t in after.class_texts(BAD).texts if t.text == "a bright groove"]
    assert [one.status for one in found] == [Status.ACTIVE]


@pytest.mark.parametrize(
    ("class_id", "text", "said"),
    [
        ("ok", _text("An even face"), "got 'An even face' again"),
        ("none", _text("x"), "expected one of the classes"),
        ("ok", _text("x", TextKind.ONE_TO_ONE), "another class to tell it from"),
        ("ok", _text("x", TextKind.ONE_TO_ONE, rival="ok"), "another class to tell it from"),
        ("ok", _text("x", TextKind.ATTRIBUTE, rival=BAD), "another class to tell it from"),
    ],
)
def test_what_cannot_be_added_is_refused(tmp_path: Path, class_id: str, text: Text, said: str) -> None:
    with pytest.raises(DataError, match=said):
        with_added(_read(tmp_path), class_id=class_id, text=text)


def test_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'an even face', 'sharp edges'"):
        with_removed(_read(tmp_path), class_id="ok", text=_text("x"))
    with pytest.raises(DataError, match="got a file without it"):
        taken_out(COMMENTED, class_id="ok", text=_text("x"))
