"""Labels that people give, parsed with exact errors, and what an event's labels say when they are put together."""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import DataError

AUDIT_REST_S = 30 * 86_400.0  # an audit label judges the head before it may teach it
BLIND_STREAMS = frozenset({"audit", "gate"})  # figures of risk are void where the labeller saw the head's answer
MAX_TEXT = 256  # characters of an id or name; longer ones are a mistake or an attack


class Stream(enum.StrEnum):
    """Why the label was asked for; the streams are disjoint and never mixed."""

    AUDIT = "audit"
    TEACH = "teach"
    GATE = "gate"
    HONEYPOT = "honeypot"
    FOUNDER = "founder"


@dataclass(frozen=True, slots=True)
class Label:
    """What one person said of one part."""

    event_id: str
    label: str
    labeller: str
    labelled_at: float  # UTC, seconds since 1970
    stream: Stream
    inclusion_probability: float = 1.0  # that this part was asked about, in (0, 1]
    blind: bool = False  # the labeller did not see the head's answer
    model_label: str | None = None  # what the head had answered

    def to_json(self) -> dict[str, Any]:
        """Plain values; `parse_label` gives the same label again."""
        return {**asdict(self), "stream": self.stream.value}


_REQUIRED = ("event_id", "label", "labeller", "labelled_at", "stream")
_OPTIONAL = ("inclusion_probability", "blind", "model_label")
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})


def parse_label(mapping: Mapping[str, Any], *, where: str = "label") -> Label:
    """A label from JSON or from a row of CSV, where every value is text. Raises DataError naming `where` and the key.

    `labelled_at` is seconds since 1970 or ISO 8601 with a zone. A naive time is refused: it would be an hour wrong
    twice a year.
    """
    for key in mapping:
        if key not in _REQUIRED + _OPTIONAL:
            near = difflib.get_close_matches(str(key), _REQUIRED + _OPTIONAL, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(
                f"{where}: expected keys {', '.join(_REQUIRED + _OPTIONAL)}, got {str(key)[:MAX_TEXT]!r}{hint}"
            )
    missing = [key for key in _REQUIRED if mapping.get(key) in (None, "")]
    if missing:
        raise DataError(f"{where}: expected a value for {', '.join(missing)}, got none")
    stream = _text(mapping, key="stream", where=where)
    if stream not in set(Stream):
        raise DataError(f"{where}: stream: expected one of {', '.join(Stream)}, got {stream!r}")
    return Label(
        event_id=_text(mapping, key="event_id", where=where),
        label=_text(mapping, key="label", where=where),
        labeller=_text(mapping, key="labeller", where=where),
        labelled_at=_instant(mapping["labelled_at"], where=f"{where}: labelled_at"),
        stream=Stream(stream),
        inclusion_probability=_probability(mapping.get("inclusion_probability"), where=where),
        blind=_flag(mapping.get("blind"), where=f"{where}: blind"),
        model_label=_text(mapping, key="model_label", where=where) if mapping.get("model_label") else None,
    )


def _text(mapping: Mapping[str, Any], *, key: str, where: str) -> str:
    value = mapping[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: {key}: expected text, got {type(value).__name__}")
    text = value.strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise DataError(f"{where}: {key}: expected 1 to {MAX_TEXT} printable characters, got {value[:MAX_TEXT]!r}")
    return text


def _number(value: Any, *, where: str, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataError(f"{where}: expected {what}, got {type(value).__name__}")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected {what}, got {str(value)[:MAX_TEXT]!r}") from error
    if not math.isfinite(number):
        raise DataError(f"{where}: expected {what}, got {number}")
    return number


def _instant(value: Any, *, where: str) -> float:
    what = "seconds since 1970 or ISO 8601 with a zone (2026-01-31T08:15:14Z)"
    if isinstance(value, str) and "T" in value:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise DataError(f"{where}: expected {what}, got {value[:MAX_TEXT]!r}") from error
        if moment.tzinfo is None:
            raise DataError(f"{where}: expected {what}, got {value!r} without a zone; add Z for UTC")
        return moment.astimezone(UTC).timestamp()
    number = _number(value, where=where, what=what)
    if number < 0:
        raise DataError(f"{where}: expected {what}, got {number}")
    return number


def _probability(value: Any, *, where: str) -> float:
    if value in (None, ""):
        return 1.0
    number = _number(value, where=f"{where}: inclusion_probability", what="a number above 0 and at most 1")
    if not 0 < number <= 1:
        raise DataError(f"{where}: inclusion_probability: expected a number above 0 and at most 1, got {number}")
    return number


def _flag(value: Any, *, where: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text not in _YES | _NO:
        raise DataError(f"{where}: expected true or false, got {str(value)[:MAX_TEXT]!r}")
    return text in _YES


@dataclass(frozen=True, slots=True)
class Standing:
    """What all labels of one event say together, whatever order they came in. Honeypot answers have no say."""

    event_id: str
    label: str | None  # None where labellers differ, or where nobody has said anything
    labels: tuple[Label, ...]  # the one that counts of each labeller; two where somebody said both at one instant

    @property
    def contested(self) -> bool:
        """Labellers differ: it teaches nothing until one of them corrects himself."""
        return self.label is None and bool(self.labels)

    @property
    def double_labelled(self) -> bool:
        """At least two people said the same."""
        return self.label is not None and len({one.labeller for one in self.labels}) > 1

    def teaches(self, *, at: float) -> bool:
        """May a head be fitted on it at that instant? Gate labels never, audit labels after 30 days."""
        return self.label is not None and all(_may_teach(one, at=at) for one in self.labels)


def _may_teach(label: Label, *, at: float) -> bool:
    if label.stream is Stream.AUDIT:
        return at - label.labelled_at >= AUDIT_REST_S
    return label.stream in (Stream.TEACH, Stream.FOUNDER)


def standing_of(labels: Iterable[Label], *, event_id: str) -> Standing:
    """Of each labeller the latest label counts; labellers who differ leave the event without a label."""
    latest: dict[str, float] = {}
    heard = [one for one in labels if one.stream is not Stream.HONEYPOT]
    for one in heard:
        latest[one.labeller] = max(one.labelled_at, latest.get(one.labeller, -math.inf))
    said = {(one.labeller, one.label): one for one in heard if one.labelled_at == latest[one.labeller]}
    counted = tuple(said[key] for key in sorted(said))
    names = {one.label for one in counted}
    return Standing(event_id=event_id, label=names.pop() if len(names) == 1 else None, labels=counted)
