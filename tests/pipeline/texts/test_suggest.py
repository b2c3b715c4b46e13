"""Drafts from the trade's lists, and the rules that any suggestion must pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.texts.entries import Provenance, Status, Text, TextKind
from pipeline.texts.prompts import phrases_in, question, replacement
from pipeline.texts.suggest import from_trade, load_trade, new_texts, too_near, with_drafts
from tests.pipeline.texts import making_texts as making

TRADE = """
trade: test
language: en
entries:
  fine:
    match: [clean]
    attributes: ["sharp edges", "no mark at all"]
  score:
    match: [scratch, scratched, "skate mark"]
    synonyms: ["Scratched plate", "gouged plate"]
    attributes: ["an old word", "a score"]
    one_to_one: {fine: ["a line where none should be"]}
  other:
    match: [rust]
    attributes: ["orange crust"]
"""


def trade(folder: Path, *, text: str = TRADE) -> Path:
    path = folder / "trade.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_class_gets_what_the_trade_says_of_its_words_as_drafts(tmp_path: Path) -> None:
    dictionary = making.small(tmp_path)
    offered = from_trade(dictionary, trade=load_trade(trade(tmp_path)))
    assert [t.text for t in offered["ok"]] == ["no mark at all"]  # sharp edges it has
    told = [(t.kind, t.rival, t.text) for t in offered["scratched"]]
    assert told == [  # neither its own name nor a text a person has retired comes back
        (TextKind.SYNONYM, None, "gouged plate"),
        (TextKind.ATTRIBUTE, None, "a score"),
        (TextKind.ONE_TO_ONE, "ok", "a line where none should be"),
    ]
    drafts = {(t.provenance, t.status) for texts in offered.values() for t in texts}
    assert drafts == {(Provenance.TEMPLATE, Status.DRAFT)}
    grown = with_drafts(dictionary, drafts=offered)
    assert grown.sha256 == dictionary.sha256  # no head changes
    assert from_trade(grown, trade=load_trade(trade(tmp_path))) == {}


def test_new_texts_come_once() -> None:
    from pipeline.texts.dictionary import ClassTexts

    c = ClassTexts("a", "thing")
    texts = tuple(Text(t, TextKind.ATTRIBUTE, "en") for t in ("Round", "round", "flat"))
    assert [t.text for t in new_texts(c, suggested=texts)] == ["Round", "flat"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("match: [clean]", "matches: [clean]", "entries.fine: expected only match, synonyms"),
        ("{fine: [", "{gone: [", "one_to_one must name other entries of this file, got gone"),
        ("entries:", "entries: []\nx:", "expected only trade, language, entries, got x"),
    ],
)
def test_a_wrong_trade_list_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_trade(trade(tmp_path, text=TRADE.replace(old, new, 1)))


def test_an_analogy_near_another_class_is_rejected(tmp_path: Path) -> None:
    dictionary, tower = making.small(tmp_path), making.WordTower()
    phrases = ("plate clean", "a road on a map")  # the first sums to the words of class ok
    near = too_near(phrases, class_id="scratched", dictionary=dictionary, encoder=tower)
    assert near == ("plate clean",)
    assert too_near(phrases, class_id="ok", dictionary=dictionary, encoder=tower) == ()
    names = ("Clean plate", "plate clean")
    assert too_near(names, class_id="scratched", dictionary=dictionary, encoder=None) == ("Clean plate",)


def test_each_kind_of_text_has_its_question() -> None:
    for kind in TextKind:
        asked = question(kind, name="torn carton", rival="crushed carton")
        assert "torn carton" in asked
        assert ("crushed carton" in asked) is (kind is TextKind.ONE_TO_ONE)
        assert "{" not in asked
    follow_up = replacement(("a box", "a bag"))
    assert "- a box\n- a bag" in follow_up
    assert "Give 2 other" in follow_up


def test_an_answer_is_read_as_its_list_items_only() -> None:
    answer = (
        "Sure, here you go:\n- A round body.\n* 'two wings'\n3) a tail\n-no space\n- a round BODY\n\nAnything else?"
    )
    assert phrases_in(answer) == ("A round body", "two wings", "a tail")
    assert phrases_in("- {name}\n- " + "x" * 200) == ()
    assert len(phrases_in("\n".join(f"- item {i}" for i in range(50)))) == 20
