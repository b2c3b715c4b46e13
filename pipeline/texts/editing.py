"""A head follows its edited dictionary: only new sentences are encoded, no image is, and nothing is rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.coding import FloatArray, unit
from pipeline.heads.coder.edit import adapter_with_text, adapter_without_text, with_text, without_text
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.coder.rerank import PairVectors, pair_vectors
from pipeline.interfaces import TextEncoder
from pipeline.texts.coding import Sentence, one_to_one_of, sentences_of
from pipeline.texts.dictionary import TextDictionary

AnyCoder = CoderHead | CoderAdapterHead
Head = TypeVar("Head", CoderHead, CoderAdapterHead)


def follow_dictionary(
    head: Head,
    *,
    before: TextDictionary,
    after: TextDictionary,
    encoder: TextEncoder,
    image: FloatArray | None = None,
) -> Head:
    """The head of `after`, from the head of `before`: O(D^2) per text added, removed, retired or taken into use.

    `image` (n, D) is the cached support set of a CoderHead that has a mean code. Saving the result makes the next
    version of its bundle. Raises DataError when classes changed, or the head is not that of `before`.
    """
    if before.class_ids != after.class_ids:
        raise DataError(f"{after.source}: expected the classes of {before.source}, got others; fit the head again")
    rows, wanted = list(sentences_of(before)), sentences_of(after)
    prior = head if isinstance(head, CoderHead) else head.prior
    if prior.sentences != tuple(s.phrase for s in rows):
        raise DataError(f"{before.source}: expected the texts that the head was made from, got others; fit it again")
    edited: AnyCoder = head
    added = [s for s in wanted if s not in rows]
    for sentence, vector in zip(added, _encoded(added, encoder=encoder), strict=True):  # a class is never without name
        edited = _with(edited, sentence=sentence, vector=vector, image=image)
        rows = _inserted(rows, sentence=sentence, classes=before.class_ids)
    for sentence in [s for s in rows if s not in wanted]:
        row = rows.index(sentence)
        edited = _without(edited, row=row)
        del rows[row]
    if one_to_one_of(before) != one_to_one_of(after):
        edited = _with_pairs(edited, pairs=_pairs(after, encoder=encoder))
    return cast(Head, edited)  # each step keeps the kind of head


def _with(head: AnyCoder, *, sentence: Sentence, vector: FloatArray, image: FloatArray | None) -> AnyCoder:
    class_id, kind, phrase = sentence.class_id, sentence.kind, sentence.phrase
    if isinstance(head, CoderAdapterHead):
        return adapter_with_text(head, vector=vector, class_id=class_id, kind=kind, sentence=phrase)
    return with_text(head, vector=vector, class_id=class_id, kind=kind, sentence=phrase, image=image)


def _without(head: AnyCoder, *, row: int) -> AnyCoder:
    if isinstance(head, CoderAdapterHead):
        return adapter_without_text(head, row=row)
    return without_text(head, row=row)


def _with_pairs(head: AnyCoder, *, pairs: PairVectors) -> AnyCoder:
    if isinstance(head, CoderAdapterHead):
        return replace(head, prior=replace(head.prior, pairs=pairs))
    return replace(head, pairs=pairs)


def _encoded(sentences: Sequence[Sentence], *, encoder: TextEncoder) -> list[FloatArray]:
    """(D,) each, averaged over its wordings."""
    wordings = tuple(dict.fromkeys(w for s in sentences for w in s.wordings))
    if not wordings:
        return []
    vectors = unit(np.asarray(encoder.encode_texts(wordings), dtype=np.float32))
    row_of = {text: row for row, text in enumerate(wordings)}
    return [unit(vectors[[row_of[w] for w in s.wordings]].mean(axis=0)[None])[0] for s in sentences]


def _inserted(rows: list[Sentence], *, sentence: Sentence, classes: tuple[str, ...]) -> list[Sentence]:
    """Where `with_text` puts it: after those of its class and kind."""
    own = (classes.index(sentence.class_id), sentence.kind)
    at = sum((classes.index(s.class_id), s.kind) <= own for s in rows)
    return [*rows[:at], sentence, *rows[at:]]


def _pairs(dictionary: TextDictionary, *, encoder: TextEncoder) -> PairVectors:
    told = one_to_one_of(dictionary)
    index = {class_id: c for c, class_id in enumerate(dictionary.class_ids)}
    of = np.array([(index[a], index[b]) for a, b, _ in told], dtype=np.int64).reshape(-1, 2)
    texts = encoder.encode_texts(tuple(text for _, _, text in told)) if told else np.zeros((0, 1), np.float32)
    return pair_vectors(np.asarray(texts, dtype=np.float32), pair_of=of, n_classes=len(index))
