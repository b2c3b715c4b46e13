"""Both languages say everything, with the same values."""

from __future__ import annotations

import string
import unicodedata

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.report.wording import LANGUAGES, words

EN, JA = LANGUAGES["en"], LANGUAGES["ja"]


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_the_languages_have_the_same_keys() -> None:
    assert set(EN) == set(JA)


@pytest.mark.parametrize("key", sorted(EN))
def test_a_sentence_takes_the_same_values_in_both(key: str) -> None:
    assert places(EN[key]) == places(JA[key])


def test_japanese_is_japanese() -> None:
    same = {key for key in EN if EN[key] == JA[key] and EN[key].strip("–{}kvalue ")}
    assert same <= {"col_k"}
    assert all(unicodedata.category(c) not in {"Co", "Cn", "Cs"} for text in JA.values() for c in text)


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert words("en").percent(0.975) == "97.5\N{NO-BREAK SPACE}%"
    assert words("ja").percent(0.975) == "97.5%"
    assert words("ja").interval(0.9, high=0.99) == "90.0～99.0%"
    assert words("en").points(-0.02) == "\N{MINUS SIGN}2.0\N{NO-BREAK SPACE}points"
    assert [words("en").amount(x) for x in (0.0, 0.02, 1.9, 6.0, 2623.4)] == ["0", "0.02", "1.9", "6", "2,623"]


def test_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of en, ja, got de"):
        words("de")
