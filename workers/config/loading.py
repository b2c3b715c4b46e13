"""Reads a YAML file into a pydantic model, and words everything that is wrong with it, not only the first thing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from workers.config.wording import Key, Problem, dotted, problems_of

Model = TypeVar("Model", bound=BaseModel)

# ${NAME}, ${NAME:-default}; $${ is a literal ${
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MAX_BYTES = 4_000_000  # ten thousand cameras fit; a video given by mistake does not


class ConfigFileError(ConfigError):
    """A configuration file with everything that is wrong with it in `problems`."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Document:
    data: dict[str, Any]
    lines: Mapping[tuple[Key, ...], int]  # of each key and list item, from 1


def load_model(path: Path, *, model: type[Model], environ: Mapping[str, str] | None = None) -> Model:
    """Read `path`, fill in the environment, merge `defaults` into `cameras`, validate.

    Raises ConfigFileError; values that came from the environment or may be secrets are not in its message.
    """
    document = _read(path)
    written = document.data  # as in the file, so a message can show `${NAME}` and never its value
    unset: list[tuple[tuple[Key, ...], str]] = []
    filled = _interpolate(written, environ=os.environ if environ is None else environ, where=(), unset=unset)
    problems = [_problem(path, document=document, where=where, text=text) for where, text in unset]
    try:
        result = model.model_validate(_merge_defaults(filled))
    except ValidationError as error:
        found = problems_of(error, model=model, written=written)
        covered = {where for where, _ in unset}
        problems += [
            _problem(path, document=document, where=where, text=text) for where, text in found if where not in covered
        ]
        raise ConfigFileError(tuple(sorted(problems, key=_by_line))) from None  # its own text would repeat the values
    if problems:
        raise ConfigFileError(tuple(problems))
    return result


def read_secret(path: Path) -> str:
    """The one value in a secret's file, without surrounding white space. Raises ValueError with what to do."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"must name a readable file, got {path}: {reason}") from None
    if not text or "\n" in text:
        raise ValueError(f"must name a file with one line, got {path}: {'empty' if not text else 'several lines'}")
    return text


def _by_line(problem: Problem) -> tuple[int, str]:
    return (problem.line or 0, problem.key)


def _problem(path: Path, *, document: _Document, where: tuple[Key, ...], text: str) -> Problem:
    line = next((document.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in document.lines), None)
    return Problem(file=str(path), key=dotted(where), text=text, line=line)


def _read(path: Path) -> _Document:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _refused(path, text=f"cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise _refused(path, text=f"is larger than {_MAX_BYTES} bytes: is it the right file?")
    try:
        loader = yaml.SafeLoader(raw.decode("utf-8"))
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
    except UnicodeDecodeError as error:
        raise _refused(path, text=f"must be UTF-8 text, got byte {raw[error.start]:#04x} at {error.start}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = getattr(error, "problem", None) or "unreadable"
        line = mark.line + 1 if mark is not None else None
        raise _refused(path, text=f"is not valid YAML: {reason}", line=line) from None  # its text quotes the file
    except (ValueError, RecursionError) as error:  # e.g. the date 2026-99-99, or an anchor inside itself
        raise _refused(path, text=f"is not valid YAML: {type(error).__name__}") from None
    if node is None or not isinstance(data, dict):
        got = "an empty file" if data is None else f"a {type(data).__name__}"
        raise _refused(path, text=f"must be a mapping with version, cameras, head and decision, got {got}")
    lines: dict[tuple[Key, ...], int] = {}
    _number(node, where=(), lines=lines, path=path, above=())
    return _Document(data=data, lines=lines)


def _refused(path: Path, *, text: str, line: int | None = None) -> ConfigFileError:
    return ConfigFileError((Problem(file=str(path), key="", text=text, line=line),))


def _number(
    node: yaml.Node, *, where: tuple[Key, ...], lines: dict[tuple[Key, ...], int], path: Path, above: tuple[int, ...]
) -> None:
    """Note the line of each key; refuse a key that is there twice, which YAML would silently take the last of."""
    if id(node) in above:
        raise _refused(path, text="is not valid YAML: an anchor inside itself", line=node.start_mark.line + 1)
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            lines[(*where, index)] = child.start_mark.line + 1
            _number(child, where=(*where, index), lines=lines, path=path, above=above)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, child in node.value:
            line, key = key_node.start_mark.line + 1, str(key_node.value)
            if key in seen:
                raise _refused(path, text=f"{dotted((*where, key))}: is there twice", line=line)
            seen.add(key)
            lines[(*where, key)] = line
            _number(child, where=(*where, key), lines=lines, path=path, above=above)


def _interpolate(
    value: object,
    *,
    environ: Mapping[str, str],
    where: tuple[Key, ...],
    unset: list[tuple[tuple[Key, ...], str]],
) -> Any:
    if isinstance(value, dict):
        return {
            key: _interpolate(child, environ=environ, where=(*where, str(key)), unset=unset)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [
            _interpolate(child, environ=environ, where=(*where, index), unset=unset)
            for index, child in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if name is None:
            return "${"
        given = environ.get(name) or default  # as in a shell, :- covers a variable that is set but empty
        if given is None and name in environ:
            return ""
        if given is None:
            text = f"needs the environment variable {name}, which is not set: set it, or write ${{{name}:-default}}"
            unset.append((where, text))
            return match.group(0)
        return given

    return _VARIABLE.sub(fill, value)


def _merge_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Cameras with `defaults` merged in, key by key; lists are replaced whole."""
    defaults, cameras = data.get("defaults"), data.get("cameras")
    if not isinstance(defaults, dict) or not isinstance(cameras, list):
        return data
    merged = [_merge(defaults, over=camera) if isinstance(camera, dict) else camera for camera in cameras]
    return {**data, "cameras": merged}


def _merge(base: dict[str, Any], *, over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and _same_type(below, over=value):
            result[key] = _merge(below, over=value)
        else:
            result[key] = value
    return result


def _same_type(base: dict[str, Any], *, over: dict[str, Any]) -> bool:
    """False for two mappings whose `type` differs: the keys of one would be unknown in the other."""
    return "type" not in base or "type" not in over or base["type"] == over["type"]
