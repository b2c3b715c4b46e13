"""What people ask of a running line: one small file each, written by commands, taken in order by the line."""

from __future__ import annotations

import enum
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import write_atomic
from workers.adaptation.files import AdaptationFiles

log = structlog.get_logger()
MAX_BYTES = 65_536  # of a request; more is a mistake
MAX_NAME = 120  # characters of who asks

Value = str | int | float | bool | None


class RequestKind(enum.StrEnum):
    """What may be asked; the values it comes with are named beside it."""

    APPROVE = "approve"  # run
    REFUSE = "refuse"  # run
    PROMOTE = "promote"  # version: past the gate
    ROLLBACK = "rollback"  # reason
    FREEZE = "freeze"  # reason
    THAW = "thaw"
    REBASELINE_APPROVE = "rebaseline_approve"  # step
    REBASELINE_REFUSE = "rebaseline_refuse"  # step
    CHANGEOVER = "changeover"  # product
    REFERENCE = "reference"  # sha256, source, roi: a new reference lies in the folder


@dataclass(frozen=True, slots=True)
class Request:
    """One wish. `run` and `step` in `values` say what the person looked at: after that has passed it means nothing."""

    kind: RequestKind
    by: str
    at: float  # UTC, seconds since 1970
    values: Mapping[str, Value] = field(default_factory=dict)


def product_name(text: str) -> str:
    """As references and recording are kept under. Raises DataError for what is no name."""
    name = text.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise DataError(f"product: expected 1 to {MAX_NAME} printable characters, got {text[:MAX_NAME]!r}")
    return name


def submit(files: AdaptationFiles, *, kind: RequestKind, by: str, at: float, **values: Value) -> Path:
    """Leave a request for the line; on return it survives a power cut. Raises DataError for a name that is none."""
    who = by.strip()
    if not who or len(who) > MAX_NAME or not who.isprintable():
        raise DataError(f"by: expected 1 to {MAX_NAME} printable characters that name a person, got {by[:MAX_NAME]!r}")
    name = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}.json"
    content = {"kind": kind.value, "by": who, "at": at, "values": values}
    write_atomic(files.commands / name, content=json.dumps(content, sort_keys=True, allow_nan=False).encode())
    return files.commands / name


def take_all(files: AdaptationFiles) -> list[Request]:
    """Requests in the order they were made, each removed; what cannot be read is removed too, and told in the log."""
    taken = []
    for path in sorted(files.commands.glob("[!.]*.json")) if files.commands.is_dir() else ():
        try:
            taken.append(_read(path))
        except DataError as error:
            log.warning("request left out", cause=str(error))
        path.unlink(missing_ok=True)
    return taken


def waiting(files: AdaptationFiles) -> int:
    """Requests that no line has taken yet."""
    return len(list(files.commands.glob("[!.]*.json"))) if files.commands.is_dir() else 0


def _read(path: Path) -> Request:
    try:
        content = json.loads(path.read_bytes()[:MAX_BYTES])
        return Request(
            kind=RequestKind(content["kind"]),
            by=str(content["by"]),
            at=float(content["at"]),
            values=dict(content["values"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected a request to the line, got: {error}; ask again") from error
