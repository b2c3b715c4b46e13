"""Sentences and numbers of the page in one of its languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from pipeline.errors import ConfigError
from workers.review.wording_en import ENGLISH
from workers.review.wording_ja import JAPANESE

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "ja": JAPANESE}
_FRESH_S = 2.0  # younger frames are simply "now": a figure that dances every second calms nobody
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True)
class Words:
    """One language and one time zone; called with a key and the values of its sentence."""

    lang: str
    table: Mapping[str, str]
    zone: tzinfo | None = None  # None: the machine's own

    def __call__(self, key: str, **values: object) -> str:
        """The sentence with its values."""
        return self.table[key].format(**values)

    def local(self, instant: float) -> datetime:
        """UTC seconds since 1970 as the plant's wall clock."""
        return datetime.fromtimestamp(instant, UTC).astimezone(self.zone)

    def clock(self, instant: float, *, now: float) -> str:
        """Hours and minutes, with the date where it is not today."""
        moment = self.local(instant)
        if moment.date() == self.local(now).date():
            return f"{moment:%H:%M}"
        return self("date_time", month=moment.month, day=moment.day, time=f"{moment:%H:%M}")

    def age(self, seconds: float | None) -> str:
        """How long ago; a dash for never."""
        if seconds is None:
            return self("none")
        if seconds < _FRESH_S:
            return self("age_now")
        for limit, unit, key in (
            (_MINUTE_S, 1.0, "age_s"),
            (_HOUR_S, _MINUTE_S, "age_min"),
            (_DAY_S, _HOUR_S, "age_h"),
        ):
            if seconds < limit:
                return self(key, n=int(seconds / unit))
        return self("age_d", n=int(seconds / _DAY_S))

    def percent(self, share: float | None) -> str:
        """Of a fraction, whole per cent, never rounded up to certainty; a dash for none."""
        if share is None:
            return self("none")
        return f"{min(round(100 * share), 99 if share < 1 else 100)}%"

    def number(self, value: float, *, digits: int = 1) -> str:
        """With its sign, a real minus; nothing has no sign."""
        text = f"{value:+.{digits}f}"
        return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def words(lang: str, *, zone: tzinfo | None = None) -> Words:
    """Raises ConfigError for a language that is not there."""
    if lang not in LANGUAGES:
        raise ConfigError(f"review.language: expected one of {', '.join(LANGUAGES)}, got {lang}")
    return Words(lang, LANGUAGES[lang], zone)
