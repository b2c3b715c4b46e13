"""New texts for a dictionary, as drafts: from the trade's lists, and the rules that any suggestion must pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import DataError
from pipeline.interfaces import TextEncoder
from pipeline.texts.coding import phrase_vectors
from pipeline.texts.dictionary import ClassTexts, TextDictionary, read_yaml
from pipeline.texts.entries import Provenance, Status, Text, TextKind, kind_of, parse_texts, require_keys, require_text

TRADE_KEYS = ("trade", "language", "entries")
ENTRY_KEYS = ("match", "synonyms", "attributes", "analogous", "one_to_one")
_WORD = re.compile(r"[^\W_]+")

TOO_NEAR = 0.9  # cosine of an analogy to the name of another class, section 3.2 of the paper's generator


@dataclass(frozen=True, slots=True)
class TradeEntry:
    """What a trade says about one kind of thing; `rival` of its one-to-one texts is another entry."""

    key: str
    match: tuple[str, ...]  # words of a class id, name or synonym
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade's vocabulary, `configs/texts/trade/<trade>.yaml`."""

    name: str
    entries: tuple[TradeEntry, ...]


def load_trade(path: Path) -> Trade:
    """Read and check a trade list; raises DataError naming file, entry and key."""
    where = str(path)
    content = require_keys(read_yaml(path), allowed=TRADE_KEYS, where=where)
    language = require_text(content.get("language"), where=f"{where}: language")
    entries = require_table(content.get("entries"), where=f"{where}: entries")
    out = []
    for key, value in entries.items():
        at = f"{where}: entries.{key}"
        table = require_keys(value, allowed=ENTRY_KEYS, where=at)
        words = parse_texts(table.get("match"), kind=TextKind.SYNONYM, language=language, where=f"{at}.match")
        texts: list[Text] = []
        for kind in (TextKind.SYNONYM, TextKind.ATTRIBUTE, TextKind.ANALOGOUS):
            texts += parse_texts(table.get(kind.value), kind=kind, language=language, where=f"{at}.{kind}")
        for rival, given in require_table(table.get("one_to_one") or {}, where=f"{at}.one_to_one").items():
            if rival not in entries or rival == key:
                raise DataError(f"{at}.one_to_one must name other entries of this file, got {rival}")
            kind, told = TextKind.ONE_TO_ONE, f"{at}.one_to_one.{rival}"
            texts += parse_texts(given, kind=kind, language=language, where=told, rival=str(rival))
        out.append(TradeEntry(str(key), tuple(word.text for word in words), tuple(texts)))
    return Trade(require_text(content.get("trade"), where=f"{where}: trade"), tuple(out))


def require_table(value: object, *, where: str) -> dict[object, object]:
    """A table; raises DataError."""
    if not isinstance(value, dict):
        raise DataError(f"{where} must be a table, got {kind_of(value)}")
    return value


def matching_entries(c: ClassTexts, *, trade: Trade) -> tuple[TradeEntry, ...]:
    """Entries one of whose words is a word of the class's id, name or synonyms, plural or not."""
    said = " ".join((c.class_id, c.name, *c.synonyms)).casefold()
    in_order = _WORD.findall(said)
    words = set(in_order)
    words |= {word.removesuffix("s") for word in words} | {word.removesuffix("es") for word in words}
    joined = f" {' '.join(in_order)} "

    def named(match: str) -> bool:
        plain = match.casefold()
        return f" {plain} " in joined if " " in plain else plain in words

    return tuple(entry for entry in trade.entries if any(named(word) for word in entry.match))


def from_trade(dictionary: TextDictionary, *, trade: Trade) -> dict[str, tuple[Text, ...]]:
    """Class id -> what the trade says of such things and the class does not have yet, as drafts."""
    matched = {c.class_id: matching_entries(c, trade=trade) for c in dictionary.classes}
    class_of: dict[str, list[str]] = {}
    for class_id, entries in matched.items():
        for entry in entries:
            class_of.setdefault(entry.key, []).append(class_id)
    out = {}
    for c in dictionary.classes:
        drafts: list[Text] = []
        for text in (text for entry in matched[c.class_id] for text in entry.texts):
            draft = replace(text, provenance=Provenance.TEMPLATE, status=Status.DRAFT)
            if text.rival is None:
                drafts.append(draft)
            else:
                rivals = [rival for rival in class_of.get(text.rival, []) if rival != c.class_id]
                drafts += [replace(draft, rival=rival) for rival in rivals]
        out[c.class_id] = new_texts(c, suggested=drafts)
    return {class_id: drafts for class_id, drafts in out.items() if drafts}


def new_texts(c: ClassTexts, *, suggested: Sequence[Text]) -> tuple[Text, ...]:
    """Those the class does not have in any status: what a person retired does not come back."""
    known = {(t.kind, t.rival, t.text.casefold()) for t in c.texts}
    known.add((TextKind.SYNONYM, None, c.name.casefold()))
    out: list[Text] = []
    for text in suggested:
        key = (text.kind, text.rival, text.text.casefold())
        if key not in known:
            known.add(key)
            out.append(text)
    return tuple(out)


def with_drafts(dictionary: TextDictionary, *, drafts: dict[str, tuple[Text, ...]]) -> TextDictionary:
    """The dictionary with the drafts behind each class's own texts; heads do not change before a person says so."""
    for class_id, texts in drafts.items():
        own = dictionary.class_texts(class_id).texts
        dictionary = dictionary.with_texts(class_id, texts=(*own, *texts))
    return dictionary


def too_near(
    phrases: Sequence[str], *, class_id: str, dictionary: TextDictionary, encoder: TextEncoder | None
) -> tuple[str, ...]:
    """Analogies that would point at another class: cosine above 0.9 to its name, or its very name."""
    others = [c for c in dictionary.classes if c.class_id != class_id]
    names = {name.casefold() for c in others for name in (c.name, *c.synonyms)}
    if encoder is None or not phrases or not others:
        return tuple(phrase for phrase in phrases if phrase.casefold() in names)
    vectors = phrase_vectors(phrases, dictionary=dictionary, encoder=encoder)
    rivals = phrase_vectors([c.name for c in others], dictionary=dictionary, encoder=encoder)
    nearest = (vectors @ rivals.T).max(axis=1)
    return tuple(p for p, cosine in zip(phrases, nearest, strict=True) if cosine > TOO_NEAR or p.casefold() in names)
