"""Who changed what and why, in a chain of hashes: a record changed, removed or cut off later is seen."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import sync_folder, write_atomic

GENESIS = "0" * 64
_RECENT = 1024  # records that `append_once` looks back


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the log; hashes are SHA-256 in hex over canonical JSON."""

    seq: int  # from 0
    at: float  # UTC, seconds since 1970
    actor: str
    kind: str
    payload: Mapping[str, Any]
    payload_sha256: str
    prev_sha256: str
    sha256: str  # over all of the above but the payload itself


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found."""

    ok: bool
    n_records: int  # good ones from the start
    first_broken: int | None  # its sequence number
    reason: str


class AuditLog:
    """Appends to the chain; one writer. `<path>.head` names the last record, so that a cut at the end is seen too.

    Opening cuts off a half-written last line, as a crash leaves it, and records that it did. Raises DataError when
    the chain is broken in any other way: then nothing may be appended.
    """

    def __init__(self, path: Path, *, at: float) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = _cut_torn_line(path)
        found = verify(path)
        if not found.ok:
            raise DataError(
                f"{path}: expected an unbroken chain, got record {found.first_broken}: {found.reason}; "
                "freeze automatic changes, keep the file as evidence and restore it from a backup"
            )
        self._recent: deque[tuple[str, str]] = deque(maxlen=_RECENT)
        self._seq, self._last = 0, GENESIS
        for record in _records(path):
            self._seq, self._last = record.seq + 1, record.sha256
            self._recent.append((record.kind, record.payload_sha256))
        self._file = path.open("ab")
        sync_folder(path.parent)
        if self._seq:
            self._write_head()
        if torn:
            self.append(at=at, actor="log", kind="repaired", payload={"bytes_cut": torn})

    def append(self, *, at: float, actor: str, kind: str, payload: Mapping[str, Any]) -> AuditRecord:
        """On return the record survives a power cut."""
        payload_sha = _sha(payload)
        link = {"seq": self._seq, "at": at, "actor": actor, "kind": kind, "payload_sha256": payload_sha}
        sha = _sha({**link, "prev_sha256": self._last})
        record = AuditRecord(self._seq, at, actor, kind, payload, payload_sha, self._last, sha)
        line = {**link, "prev_sha256": self._last, "sha256": sha, "payload": payload}
        self._file.write(_canonical(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._seq, self._last = self._seq + 1, sha
        self._recent.append((kind, payload_sha))
        self._write_head()
        return record

    def append_once(self, *, at: float, actor: str, kind: str, payload: Mapping[str, Any]) -> AuditRecord | None:
        """As `append`, but None where the same kind and payload stand among the last 1,024 records: after a restart."""
        if (kind, _sha(payload)) in self._recent:
            return None
        return self.append(at=at, actor=actor, kind=kind, payload=payload)

    def close(self) -> None:
        """Every record is on disk already."""
        self._file.close()

    def _write_head(self) -> None:
        write_atomic(head_path(self._path), content=_canonical({"seq": self._seq - 1, "sha256": self._last}))


def head_path(path: Path) -> Path:
    """Where the chain's end is named."""
    return path.with_name(f"{path.name}.head")


def verify(path: Path) -> Verified:
    """Walk the chain; names the first record that is not what was written. Reads only."""
    n, last = 0, GENESIS
    shas: list[str] = []
    try:
        for record in _records(path):
            fault = _fault(record, seq=n, prev=last)
            if fault:
                return Verified(False, n, n, fault)
            n, last = n + 1, record.sha256
            shas.append(last)
    except DataError as error:
        return Verified(False, n, n, str(error))
    return _against_head(path, shas=shas)


def _against_head(path: Path, *, shas: list[str]) -> Verified:
    """The head may lie one record behind, as a crash between the two writes leaves it, never ahead."""
    n = len(shas)
    try:
        head = json.loads(head_path(path).read_bytes())
        seq, sha = int(head["seq"]), str(head["sha256"])
    except FileNotFoundError:
        return Verified(True, n, None, "unbroken") if n <= 1 else Verified(False, n, n, "the head file is missing")
    except (ValueError, KeyError, TypeError):
        return Verified(False, n, n, "the head file cannot be read")
    if seq >= n:
        return Verified(False, n, n, f"records {n} to {seq} are missing at the end")
    if seq < n - 2 or shas[seq] != sha:
        return Verified(False, seq, seq, "the head file names another record")
    return Verified(True, n, None, "unbroken")


def _fault(record: AuditRecord, *, seq: int, prev: str) -> str:
    link = {"seq": record.seq, "at": record.at, "actor": record.actor, "kind": record.kind}
    link |= {"payload_sha256": record.payload_sha256, "prev_sha256": record.prev_sha256}
    if record.seq != seq:
        return f"sequence number {record.seq}, expected {seq}: records were removed or added"
    if record.prev_sha256 != prev:
        return "does not follow the record before it"
    if _sha(record.payload) != record.payload_sha256:
        return "the payload was changed"
    if _sha(link) != record.sha256:
        return "the record was changed"
    return ""


def _records(path: Path) -> Iterator[AuditRecord]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                yield AuditRecord(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(f"line {number + 1} is not a record") from error


def _cut_torn_line(path: Path) -> int:
    """Remove what follows the last line end; bytes cut."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return 0
    with path.open("r+b") as file:
        file.truncate(whole)
        os.fsync(file.fileno())
    return len(content) - whole


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()
