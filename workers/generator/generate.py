"""Drafts of texts for each class, asked from a chat endpoint and filtered as CODER's generator does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.interfaces import TextEncoder
from pipeline.texts.dictionary import TextDictionary
from pipeline.texts.entries import Provenance, Status, Text, TextKind
from pipeline.texts.prompts import SYSTEM, phrases_in, question, replacement
from pipeline.texts.suggest import new_texts, too_near

MAX_ROUNDS = 6  # follow-ups per class that ask to replace rejected analogies
LANGUAGE = "en"  # what the questions ask for
PER_CLASS = (TextKind.SYNONYM, TextKind.ATTRIBUTE, TextKind.ANALOGOUS)


class Asks(Protocol):
    """What a chat endpoint does; a test's fake too."""

    def ask(self, messages: Sequence[dict[str, str]]) -> str:
        """The answer to the last message."""
        ...


def generate(
    dictionary: TextDictionary,
    *,
    chat: Asks,
    encoder: TextEncoder | None,
    classes: Sequence[str],
    rivals: Sequence[tuple[str, str]] = (),
    on_progress: Callable[[float], None] = lambda _share: None,
) -> dict[str, tuple[Text, ...]]:
    """Class id -> new drafts for `classes`, and one-to-one texts for each (class, rival). Blocks.

    Analogies near another class's name are sent back for a replacement, six times at most. Without an encoder only the
    very names of other classes count as near.
    """
    drafts: dict[str, list[Text]] = {}
    n_questions = max(1, len(classes) * len(PER_CLASS) + len(rivals))
    n_done = 0
    for class_id in classes:
        name = dictionary.class_texts(class_id).name
        for kind in PER_CLASS:
            if kind is TextKind.ANALOGOUS:
                phrases = analogies(class_id, dictionary=dictionary, chat=chat, encoder=encoder)
            else:
                phrases = phrases_in(chat.ask(_opening(question(kind, name=name))))
            drafts.setdefault(class_id, []).extend(_draft(phrase, kind=kind) for phrase in phrases)
            n_done += 1
            on_progress(n_done / n_questions)
    for class_id, rival in rivals:
        names = (dictionary.class_texts(class_id).name, dictionary.class_texts(rival).name)
        answer = chat.ask(_opening(question(TextKind.ONE_TO_ONE, name=names[0], rival=names[1])))
        told = (_draft(phrase, kind=TextKind.ONE_TO_ONE, rival=rival) for phrase in phrases_in(answer))
        drafts.setdefault(class_id, []).extend(told)
        n_done += 1
        on_progress(n_done / n_questions)
    new = {c: new_texts(dictionary.class_texts(c), suggested=texts) for c, texts in drafts.items()}
    return {class_id: texts for class_id, texts in new.items() if texts}


def analogies(class_id: str, *, dictionary: TextDictionary, chat: Asks, encoder: TextEncoder | None) -> tuple[str, ...]:
    """Things that look like the class and like no other class of the line."""
    name = dictionary.class_texts(class_id).name
    messages = _opening(question(TextKind.ANALOGOUS, name=name))
    kept: dict[str, str] = {}
    seen: set[str] = set()
    for _ in range(1 + MAX_ROUNDS):
        answer = chat.ask(messages)
        phrases = tuple(p for p in phrases_in(answer) if p.casefold() not in seen)
        seen |= {phrase.casefold() for phrase in phrases}
        rejected = too_near(phrases, class_id=class_id, dictionary=dictionary, encoder=encoder)
        kept |= {phrase.casefold(): phrase for phrase in phrases if phrase not in rejected}
        if not rejected:
            break
        said = {"role": "assistant", "content": answer}
        messages = [*messages, said, {"role": "user", "content": replacement(rejected)}]
    return tuple(kept.values())


def _opening(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def _draft(phrase: str, *, kind: TextKind, rival: str | None = None) -> Text:
    return Text(phrase, kind, LANGUAGE, provenance=Provenance.LLM, status=Status.DRAFT, rival=rival)
