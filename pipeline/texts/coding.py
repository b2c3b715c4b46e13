"""A dictionary's texts in use as sentences and vectors: what CODER heads are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.coding import FloatArray, Kind, TextRows, unit
from pipeline.heads.coder.rerank import PairVectors, pair_vectors
from pipeline.interfaces import TextEncoder
from pipeline.texts.dictionary import ClassTexts, TextDictionary
from pipeline.types import Float32Array


@dataclass(frozen=True, slots=True)
class Sentence:
    """One row of a bank: the phrase of the file and the sentences it becomes, whose vectors are averaged."""

    class_id: str
    kind: Kind
    phrase: str
    wordings: tuple[str, ...]  # one per template for names, else one


@dataclass(frozen=True, eq=False)
class CodedTexts:
    """A bank in the order of the file: per class its attributes, analogies, name and synonyms."""

    classes: tuple[str, ...]
    rows: TextRows
    sentences: tuple[Sentence, ...]  # of the rows
    pairs: PairVectors
    scale: float  # of the encoder, for logits

    @property
    def phrases(self) -> tuple[str, ...]:
        """(M,) what the explanation shows."""
        return tuple(sentence.phrase for sentence in self.sentences)


def sentences_of(dictionary: TextDictionary) -> tuple[Sentence, ...]:
    """Rows of the bank, texts in use only."""
    out: list[Sentence] = []
    for c in dictionary.classes:
        out += [_described(c, kind=Kind.ATTRIBUTE, phrase=t, form=dictionary.forms.attribute) for t in c.attributes]
        out += [_described(c, kind=Kind.ANALOGOUS, phrase=t, form=dictionary.forms.analogous) for t in c.analogous]
        for kind, phrases in ((Kind.NAME, (c.name,)), (Kind.SYNONYM, c.synonyms)):
            out += [
                Sentence(c.class_id, kind, phrase, tuple(t.format(phrase) for t in dictionary.templates))
                for phrase in phrases
            ]
    return tuple(out)


def one_to_one_of(dictionary: TextDictionary) -> tuple[tuple[str, str, str], ...]:
    """(class id, rival id, sentence) of every one-to-one text in use, in every form."""
    return tuple(
        (c.class_id, rival, form.format(name=c.name, text=phrase))
        for c in dictionary.classes
        for rival, phrases in c.one_to_one
        for phrase in phrases
        for form in dictionary.forms.one_to_one
    )


def encode_dictionary(dictionary: TextDictionary, *, encoder: TextEncoder) -> CodedTexts:
    """Encode every sentence in use once and build the bank. Blocks."""
    sentences, pairs = sentences_of(dictionary), one_to_one_of(dictionary)
    wanted = dict.fromkeys([w for s in sentences for w in s.wordings] + [text for _, _, text in pairs])
    vectors = unit(np.asarray(encoder.encode_texts(tuple(wanted)), dtype=np.float32))
    row_of = {text: row for row, text in enumerate(wanted)}
    index = {class_id: c for c, class_id in enumerate(dictionary.class_ids)}
    bank = np.stack([unit(vectors[[row_of[w] for w in s.wordings]].mean(axis=0)[None])[0] for s in sentences])
    rows = TextRows(
        vectors=bank,
        class_of=np.array([index[s.class_id] for s in sentences], dtype=np.int64),
        kind_of=np.array([int(s.kind) for s in sentences], dtype=np.int64),
        n_classes=len(index),
    )
    of = np.array([(index[a], index[b]) for a, b, _ in pairs], dtype=np.int64).reshape(-1, 2)
    told = vectors[[row_of[text] for _, _, text in pairs]].reshape(-1, vectors.shape[1])
    return CodedTexts(
        classes=dictionary.class_ids,
        rows=rows,
        sentences=sentences,
        pairs=pair_vectors(told, pair_of=of, n_classes=len(index)),
        scale=float(encoder.logit_scale),
    )


class StoredTexts:
    """A text encoder that looks sentences up; for embeddings that were computed elsewhere."""

    def __init__(self, sentences: Sequence[str], *, vectors: Float32Array, logit_scale: float = 100.0) -> None:
        self._row_of = {text: row for row, text in enumerate(sentences)}
        self._vectors = vectors
        self.logit_scale = logit_scale

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """(M,) texts -> (M, D); raises DataError naming the first one that is not stored."""
        for text in texts:
            if text not in self._row_of:
                raise DataError(f"stored texts: expected a vector for {text!r}, got none; encode the dictionary again")
        return self._vectors[[self._row_of[text] for text in texts]]


def _described(c: ClassTexts, *, kind: Kind, phrase: str, form: str) -> Sentence:
    return Sentence(c.class_id, kind, phrase, (form.format(name=c.name, text=phrase),))


def phrase_vectors(phrases: Sequence[str], *, dictionary: TextDictionary, encoder: TextEncoder) -> FloatArray:
    """(M,) phrases as if they were names, in the first template -> (M, D) unit rows. Blocks."""
    wordings = [dictionary.templates[0].format(phrase) for phrase in phrases]
    return unit(np.asarray(encoder.encode_texts(wordings), dtype=np.float32))
