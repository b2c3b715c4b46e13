"""Sentences, labels and numbers of the page in one of its languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ConfigError
from pipeline.evaluation.report.wording_en import ENGLISH
from pipeline.evaluation.report.wording_ja import JAPANESE

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "ja": JAPANESE}


@dataclass(frozen=True)
class Words:
    """One language; called with a key and the values of its sentence."""

    lang: str
    table: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The sentence with its values."""
        return self.table[key].format(**values)

    def joined(self, *sentences: str) -> str:
        """Sentences of one paragraph; empty ones are left out."""
        return self("sentence_join").join(one for one in sentences if one)

    def percent(self, share: float | None, *, digits: int = 1) -> str:
        """Of a fraction; a dash for none."""
        return self("none") if share is None else self("percent", value=f"{100 * share:.{digits}f}")

    def interval(self, low: float, *, high: float, digits: int = 1) -> str:
        """Of fractions."""
        return self("percent_interval", low=f"{100 * low:.{digits}f}", high=f"{100 * high:.{digits}f}")

    def signed(self, difference: float) -> str:
        """Percentage points as a number with its sign."""
        return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")

    def points(self, difference: float) -> str:
        """Percentage points with their sign."""
        return self("points", value=self.signed(difference))

    def points_interval(self, low: float, *, high: float) -> str:
        """From and to, with signs."""
        return self("points_interval", low=self.signed(low), high=self.signed(high))

    def amount(self, value: float) -> str:
        """Counts per 1,000 parts and money: as many digits as a reader can use."""
        if abs(value) >= 10 or value == round(value):
            return f"{value:,.0f}"
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.1g}"

    def amounts(self, low: float, *, high: float) -> str:
        """From and to."""
        return self("range", low=self.amount(low), high=self.amount(high))


def words(lang: str) -> Words:
    """Raises ConfigError for a language that is not there."""
    if lang not in LANGUAGES:
        raise ConfigError(f"--lang: expected one of {', '.join(LANGUAGES)}, got {lang}")
    return Words(lang, LANGUAGES[lang])
