"""Words for what pydantic found: expected, got, where, and the key that was probably meant."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Key = str | int
_ABSENT = object()
_LONGEST_SHOWN = 60  # characters of a value in a message
_SECRET_KEY = re.compile(r"url|password|secret|token|key", re.IGNORECASE)

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text (put it in quotes)",
    "path_type": "a path",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', beginning with a letter or digit, 63 at most",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file: `key` is empty for the file as a whole, `line` counts from 1."""

    file: str
    key: str
    text: str
    line: int | None = None

    def __str__(self) -> str:
        between = "" if not self.key else f"{self.key}: " if self.text.startswith("unknown key") else f"{self.key} "
        tail = "" if self.line is None else f" (line {self.line})"
        return f"{self.file}: {between}{self.text}{tail}"


def dotted(where: tuple[Key, ...]) -> str:
    """('cameras', 0, 'id') -> cameras[0].id"""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def problems_of(
    error: ValidationError, *, model: type[BaseModel], written: Mapping[str, Any]
) -> list[tuple[tuple[Key, ...], str]]:
    """Where and what, one per place; `written` is the file before the environment and the defaults came in."""
    expected: dict[tuple[Key, ...], list[str]] = {}
    found: dict[tuple[Key, ...], str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        where, owner = _locate(detail["loc"], model=model)
        kind = detail["type"]
        if kind == "union_tag_not_found":
            where, kind = (*where, "type"), "missing"
        elif kind == "union_tag_invalid":
            where = (*where, "type")
        origin = _origin(where, written=written)
        if kind == "too_short" and _is_long_enough(origin, detail=detail, written=written):
            continue
        if kind == "extra_forbidden":
            found[origin] = _unknown(str(where[-1]), owner=owner)
        elif kind == "missing":
            found[origin] = "is required"
        elif kind == "value_error":
            found[origin] = str(detail.get("ctx", {}).get("error", detail["msg"]))
        else:
            phrases = expected.setdefault(origin, [])
            phrase = _phrase(detail)
            phrases += [phrase] if phrase not in phrases else []
    for origin, phrases in expected.items():
        found[origin] = f"must be {' or '.join(phrases)}{_got(origin, written=written)}"
    return list(found.items())


def _phrase(detail: ErrorDetails) -> str:
    template = _EXPECTED.get(detail["type"])
    if template is None:
        return f"valid ({detail['msg']})"
    return template.format(**detail.get("ctx", {}))


def _unknown(key: str, *, owner: type[BaseModel]) -> str:
    close = difflib.get_close_matches(key, owner.model_fields, n=1, cutoff=0.6)
    if close:
        return f"unknown key, did you mean '{close[0]}'?"
    return f"unknown key, known here: {', '.join(owner.model_fields)}"


def _got(where: tuple[Key, ...], *, written: Mapping[str, Any]) -> str:
    """`, got ...` with the value as it stands in the file; nothing that may be a secret."""
    value = _value_at(where, written=written)
    if value is _ABSENT or any(isinstance(part, str) and _SECRET_KEY.search(part) for part in where):
        return ""
    if isinstance(value, Mapping):
        return ", got a mapping"
    if isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        return f", got a list of {len(value)}"
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if "://" in shown:  # a URL in the wrong place may still hold a password
        return ", got a URL (not shown)"
    return f", got {shown}" if len(shown) <= _LONGEST_SHOWN else f", got {shown[:_LONGEST_SHOWN]}..."


def _is_long_enough(where: tuple[Key, ...], *, detail: ErrorDetails, written: Mapping[str, Any]) -> bool:
    """pydantic counts only the valid items, and says that a list is too short whose items have their own problems."""
    value = _value_at(where, written=written)
    return isinstance(value, list) and len(value) >= detail.get("ctx", {}).get("min_length", 0)


def _origin(where: tuple[Key, ...], *, written: Mapping[str, Any]) -> tuple[Key, ...]:
    """Where the value of a merged camera was written: in the camera itself, or in `defaults`."""
    if len(where) < 3 or where[0] != "cameras" or "defaults" not in written:
        return where
    default = ("defaults", *where[2:])
    own, shared = _value_at(where, written=written), _value_at(default, written=written)
    return default if own is _ABSENT and shared is not _ABSENT else where


def _value_at(where: tuple[Key, ...], *, written: Mapping[str, Any]) -> Any:
    value: Any = written
    for part in where:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return value


def _locate(loc: tuple[Key, ...], *, model: type[BaseModel]) -> tuple[tuple[Key, ...], type[BaseModel]]:
    """The keys of pydantic's location without the union members it puts between, and the model they end in."""
    where: list[Key] = []
    owner, here = model, [model]
    for part in loc:
        models = [option for option in here if isinstance(option, type) and issubclass(option, BaseModel)]
        tagged = [option for option in models if len(models) > 1 and part in _tags(option)]
        if tagged:
            owner, here = tagged[0], tagged
            continue
        if models:
            owner = models[0]
            field = owner.model_fields.get(str(part))
            here = list(_options(field.annotation)) if field is not None else []
        elif isinstance(part, int) or any(typing.get_origin(option) is dict for option in here):
            here = [inner for option in here for arg in typing.get_args(option)[-2:] for inner in _options(arg)]
        else:
            break  # a member of a union of plain values
        where.append(part)
    last = [option for option in here if isinstance(option, type) and issubclass(option, BaseModel)]
    return tuple(where), last[0] if last and len(where) == len(loc) and last[0] is not model else owner


def _tags(model: type[BaseModel]) -> tuple[object, ...]:
    field = model.model_fields.get("type")
    return typing.get_args(field.annotation) if field is not None else ()


def _options(annotation: Any) -> Iterator[Any]:
    """The types a value may have: unions and Annotated opened, None left out."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _options(member)
    elif annotation is not type(None) and annotation is not Ellipsis:
        yield annotation
