"""One text of a dictionary: what it says, about what, where it comes from, and whether it is in use."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import DataError


class TextKind(enum.StrEnum):
    """What a text says about its class."""

    SYNONYM = "synonyms"  # the key it stands under in the file
    ATTRIBUTE = "attributes"
    ANALOGOUS = "analogous"
    ONE_TO_ONE = "one_to_one"


class Provenance(enum.StrEnum):
    """Who wrote a text."""

    PERSON = "person"
    LLM = "llm"
    TEMPLATE = "template"
    WORDNET = "wordnet"


class Status(enum.StrEnum):
    """Only active texts reach a head."""

    ACTIVE = "active"
    DRAFT = "draft"  # waits for a person to read it
    RETIRED = "retired"  # kept, so that nobody adds it again


Choice = TypeVar("Choice", bound=enum.StrEnum)

ENTRY_KEYS = ("text", "provenance", "language", "status")


@dataclass(frozen=True, slots=True)
class Text:
    """A phrase as it stands in the file; `forms` of the dictionary make a sentence of it."""

    text: str
    kind: TextKind
    language: str  # BCP 47, e.g. en or ja
    provenance: Provenance = Provenance.PERSON
    status: Status = Status.ACTIVE
    rival: str | None = None  # class id, for one-to-one texts only

    @property
    def active(self) -> bool:
        """Whether heads are made with it."""
        return self.status is Status.ACTIVE

    def to_plain(self, *, language: str) -> str | dict[str, str]:
        """As it stands in a file of that language: a string where all else is usual."""
        usual = self.provenance is Provenance.PERSON and self.active and self.language == language
        if usual:
            return self.text
        return {
            "text": self.text,
            "provenance": self.provenance.value,
            "language": self.language,
            "status": self.status.value,
        }


def parse_text(value: object, *, kind: TextKind, language: str, where: str, rival: str | None = None) -> Text:
    """A string, or a table with `text` and any of provenance, language, status. Raises DataError naming `where`."""
    if isinstance(value, str):
        return Text(require_text(value, where=where), kind, language, rival=rival)
    if not isinstance(value, Mapping):
        raise DataError(f"{where} must be a text, or a table with {', '.join(ENTRY_KEYS)}, got {value!r}")
    table = require_keys(value, allowed=ENTRY_KEYS, where=where)
    return Text(
        text=require_text(table.get("text"), where=f"{where}.text"),
        kind=kind,
        language=require_text(table.get("language", language), where=f"{where}.language"),
        provenance=_one_of(table.get("provenance", "person"), among=Provenance, where=f"{where}.provenance"),
        status=_one_of(table.get("status", "active"), among=Status, where=f"{where}.status"),
        rival=rival,
    )


def parse_texts(
    value: object, *, kind: TextKind, language: str, where: str, rival: str | None = None
) -> tuple[Text, ...]:
    """A list of texts; an absent key is an empty list. Raises DataError for a phrase that stands there twice."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise DataError(f"{where} must be a list of texts, got {kind_of(value)}")
    texts = tuple(
        parse_text(item, kind=kind, language=language, where=f"{where}[{i}]", rival=rival)
        for i, item in enumerate(value)
    )
    seen: set[str] = set()
    for text in texts:
        if text.text.casefold() in seen:
            raise DataError(f"{where} must hold each text once, got {text.text!r} twice")
        seen.add(text.text.casefold())
    return texts


def require_keys(content: object, *, allowed: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """A table with no other keys; raises DataError."""
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: expected a table with {', '.join(allowed)}, got {kind_of(content)}")
    unknown = [str(k) for k in content if k not in allowed]
    if unknown:
        raise DataError(f"{where}: expected only {', '.join(allowed)}, got {', '.join(unknown)}")
    return content


def require_text(value: object, *, where: str) -> str:
    """A string with something in it, stripped; raises DataError."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where} must be a text, got {value!r}")
    return value.strip()


def kind_of(value: object) -> str:
    """For messages."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def _one_of(value: object, *, among: type[Choice], where: str) -> Choice:
    try:
        return among(str(value))
    except ValueError as error:
        raise DataError(f"{where} must be one of {', '.join(among)}, got {value!r}") from error
