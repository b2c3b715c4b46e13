"""States and events as JSON and back, exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pipeline.adaptation.lifecycle import events
from pipeline.adaptation.lifecycle.states import RunState
from pipeline.errors import DataError

Value = TypeVar("Value")
_EVENTS: dict[str, type[events.Event]] = {
    kind.__name__: kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind not in (events.Event, events.RunEvent)
}


def state_to_json(state: RunState) -> str:
    """One line, keys in order."""
    return json.dumps(asdict(state), sort_keys=True, allow_nan=False)


def state_from_json(text: str) -> RunState:
    """The state written by `state_to_json`. Raises DataError for anything else."""
    return _build(RunState, _parsed(text))


def event_to_json(event: events.Event) -> str:
    """One line, keys in order, the event's kind under `event`."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}, sort_keys=True, allow_nan=False)


def event_from_json(text: str) -> events.Event:
    """The event written by `event_to_json`. Raises DataError for anything else."""
    given = dict(_parsed(text))
    name = given.pop("event", None)
    if name not in _EVENTS:
        raise DataError(
            f"event: expected one of {', '.join(sorted(_EVENTS))}, got {name!r}; was it written by a newer version?"
        )
    return _build(_EVENTS[name], given)


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise DataError(f"lifecycle: expected JSON, got {text[:40]!r}; restore it from a backup") from error
    if not isinstance(given, dict):
        raise DataError(f"lifecycle: expected a JSON object, got {type(given).__name__}; restore it from a backup")
    return given


def _build(kind: type[Value], given: Mapping[str, Any]) -> Value:
    hints = get_type_hints(kind)
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # every caller hands in a dataclass
    if set(given) != names:
        odd = ", ".join(sorted(set(given) ^ names))
        raise DataError(
            f"{kind.__name__}: expected exactly its fields, got a difference in {odd}; is the version right?"
        )
    return kind(**{name: _typed(value, hints[name], where=f"{kind.__name__}.{name}") for name, value in given.items()})


def _typed(value: Any, hint: Any, *, where: str) -> Any:
    if get_origin(hint) is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        hint = next(one for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(one, get_args(hint)[0], where=where) for one in value)
    if isinstance(hint, type) and issubclass(hint, Enum) and value in {one.value for one in hint}:
        return hint(value)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is not hint:
        raise DataError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}; restore it from a backup")
    return value
