"""Finds texts that do no good: written twice, alike in embedding space, saying nothing, not read, or harmful."""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass

import numpy as np

from pipeline.heads.coder.coding import FloatArray, Kind, code
from pipeline.texts.coding import CodedTexts
from pipeline.texts.dictionary import TextDictionary
from pipeline.texts.entries import TextKind
from pipeline.texts.utility import Utility

DUPLICATE_SHARE = 0.01  # of the median distance (1 - cosine) between texts of different classes
DEAD_SHARE = 0.25  # of the usual standard deviation of a text's centred cosine over images
SAYS_NOTHING = frozenset({"none", "n/a", "na", "null", "unknown", "not applicable", "-", "?", "tbd", "todo"})
FEWEST_ATTRIBUTES = 3  # below it one odd text decides


class Problem(enum.StrEnum):
    """What is wrong with a text."""

    SHARED = "shared"  # stands under two classes, so that it tells nothing
    DUPLICATE = "duplicate"  # the encoder hardly tells it from another of its class
    DEAD = "dead"  # says nothing, or the same of every image
    UNREAD = "unread"  # in a script that an English text tower does not read
    HARMFUL = "harmful"  # accuracy rises without it
    THIN = "thin"  # a class with hardly any text
    ONE_SIDED = "one_sided"  # a one-to-one text whose rival has none against this class


@dataclass(frozen=True, slots=True)
class Finding:
    """One text, or one class where `text` is empty."""

    problem: Problem
    class_id: str
    text: str
    detail: str


def check_wording(dictionary: TextDictionary) -> tuple[Finding, ...]:
    """What can be seen without an encoder."""
    findings: list[Finding] = []
    owner: dict[tuple[str, str], str] = {}
    for c in dictionary.classes:
        told = [t for t in c.texts if t.active]
        for t in told:
            if t.text.casefold() in SAYS_NOTHING:
                findings.append(Finding(Problem.DEAD, c.class_id, t.text, "says nothing; retire it"))
            if not _latin(t.text):
                detail = "an English text tower does not read this script; set its status to draft"
                findings.append(Finding(Problem.UNREAD, c.class_id, t.text, detail))
            if t.kind is TextKind.ONE_TO_ONE:
                continue
            first = owner.setdefault((t.kind, t.text.casefold()), c.class_id)
            if first != c.class_id:
                findings.append(Finding(Problem.SHARED, c.class_id, t.text, f"stands under {first} too"))
        if len(c.attributes) < FEWEST_ATTRIBUTES:
            detail = f"expected {FEWEST_ATTRIBUTES} attributes or more, got {len(c.attributes)}"
            findings.append(Finding(Problem.THIN, c.class_id, "", detail))
    return (*findings, *_one_sided(dictionary))


def _one_sided(dictionary: TextDictionary) -> list[Finding]:
    told = {(c.class_id, rival) for c in dictionary.classes for rival, _ in c.one_to_one}
    return [
        Finding(Problem.ONE_SIDED, a, "", f"has texts against {b}, {b} has none against {a}: the pair does not count")
        for a, b in sorted(told)
        if (b, a) not in told
    ]


def _latin(text: str) -> bool:
    return all("LATIN" in unicodedata.name(ch, "") for ch in text if ch.isalpha())


def check_bank(coded: CodedTexts, *, image: FloatArray | None = None) -> tuple[Finding, ...]:
    """Duplicates in embedding space, and with images (n, D), labelled or not, texts that say the same of all."""
    findings = _duplicates(coded)
    if image is not None:
        findings += _dead(coded, image=image)
    return tuple(findings)


def _duplicates(coded: CodedTexts) -> list[Finding]:
    """Each text nearer to its class's name, or to an earlier text, than a hundredth of the usual distance."""
    rows = coded.rows
    cosines = rows.vectors @ rows.vectors.T
    same = rows.class_of[:, None] == rows.class_of
    if same.all():
        return []
    limit = DUPLICATE_SHARE * float(np.median(1.0 - cosines[~same]))
    names = rows.kind_of == Kind.NAME  # never reported: a class must have one
    earlier = same & (np.tri(len(same), k=-1, dtype=bool) | names) & ~names[:, None]
    findings = []
    for j in np.flatnonzero(np.where(earlier, 1.0 - cosines, np.inf).min(axis=1) < limit).tolist():
        twin = int(np.where(earlier[j], cosines[j], -np.inf).argmax())
        detail = f"cosine {cosines[j, twin]:.4f} to {coded.sentences[twin].phrase!r}"
        findings.append(_about(coded, row=j, problem=Problem.DUPLICATE, detail=detail))
    return findings


def _dead(coded: CodedTexts, *, image: FloatArray) -> list[Finding]:
    codes = code(image.astype(np.float64), bank=coded.rows.vectors.astype(np.float64))
    spread = (codes - codes.mean(axis=1, keepdims=True)).std(axis=0)
    limit = DEAD_SHARE * float(np.median(spread))
    return [
        _about(
            coded,
            row=j,
            problem=Problem.DEAD,
            detail=f"varies by {spread[j]:.4f} over {len(image)} images, usual is {np.median(spread):.4f}",
        )
        for j in np.flatnonzero(spread < limit).tolist()
    ]


def harmful_texts(coded: CodedTexts, *, utilities: tuple[Utility, ...]) -> tuple[Finding, ...]:
    """Texts without which accuracy rises by more than two standard errors."""
    return tuple(
        _about(
            coded,
            row=u.row,
            problem=Problem.HARMFUL,
            detail=f"accuracy {100 * u.accuracy_without:+.1f} points without it (standard error "
            f"{100 * u.standard_error:.1f})",
        )
        for u in utilities
        if u.harmful
    )


def _about(coded: CodedTexts, *, row: int, problem: Problem, detail: str) -> Finding:
    sentence = coded.sentences[row]
    text = f"{sentence.phrase} (the name)" if sentence.kind is Kind.NAME else sentence.phrase
    return Finding(problem, sentence.class_id, text, detail)
