"""The chain of records: a crash is repaired, anything else is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.adaptation.lifecycle.audit_log import GENESIS, AuditLog, head_path, verify
from pipeline.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed log of five records."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, at=0.0)
    for n in range(5):
        log.append(at=float(n), actor="machine", kind="transition", payload={"step": n})
    log.close()
    return path


def rewrite(path: Path, *, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines))


def test_records_follow_one_another_by_hash(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["seq"] for one in records] == list(range(5))
    assert [one["prev_sha256"] for one in records] == [GENESIS, *(one["sha256"] for one in records[:-1])]
    assert (verify(path).ok, verify(path).n_records) == (True, 5)


def test_an_opened_log_goes_on_where_it_ended(path: Path) -> None:
    log = AuditLog(path, at=9.0)
    assert log.append(at=9.0, actor="ann", kind="approval", payload={"head": 2}).seq == 5
    assert verify(path).ok


@pytest.mark.parametrize("field", ["at", "actor", "kind", "payload", "sha256", "prev_sha256", "payload_sha256", "seq"])
def test_a_changed_field_is_found_at_its_record(path: Path, field: str) -> None:
    lines = path.read_text().splitlines()
    record = json.loads(lines[2])
    record[field] = {"step": 9} if field == "payload" else 9 if field in ("seq", "at") else "changed"
    lines[2] = json.dumps(record)
    rewrite(path, lines=lines)
    found = verify(path)
    assert (found.ok, found.first_broken) == (False, 2)


@pytest.mark.parametrize(("keep", "first_broken"), [([0, 1, 3, 4], 2), ([1, 2, 3, 4], 0), ([0, 1, 2, 3], 4), ([], 0)])
def test_a_removed_record_is_found_wherever_it_was(path: Path, keep: list[int], first_broken: int) -> None:
    lines = path.read_text().splitlines()
    rewrite(path, lines=[lines[n] for n in keep])
    found = verify(path)
    assert (found.ok, found.first_broken) == (False, first_broken)


def test_a_rewritten_tail_with_good_hashes_is_found_by_the_head_file(path: Path, tmp_path: Path) -> None:
    forged = AuditLog(tmp_path / "forged.jsonl", at=0.0)
    for n in range(5):
        forged.append(at=float(n), actor="machine", kind="transition", payload={"step": n if n < 3 else 100 + n})
    path.write_bytes((tmp_path / "forged.jsonl").read_bytes())
    assert verify(path).reason == "the head file names another record"


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_line_is_cut_off_and_told(path: Path, cut: int) -> None:
    with path.open("ab") as file:
        file.write((path.read_bytes().splitlines()[-1])[:cut])
    log = AuditLog(path, at=7.0)
    log.close()
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["kind"], last["payload"], last["seq"]) == ("repaired", {"bytes_cut": cut}, 5)
    assert verify(path).ok


def test_an_acknowledged_record_that_is_torn_is_no_crash(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="records 4 to 4 are missing at the end"):
        AuditLog(path, at=7.0)


def test_a_crash_between_record_and_head_is_no_break(path: Path) -> None:
    before = head_path(path).read_bytes()
    AuditLog(path, at=7.0).append(at=7.0, actor="ann", kind="x", payload={})
    head_path(path).write_bytes(before)
    assert verify(path).ok
    AuditLog(path, at=8.0).close()
    assert json.loads(head_path(path).read_bytes())["seq"] == 5


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_lost_or_broken_head_file_is_seen(path: Path, content: bytes | None) -> None:
    head_path(path).unlink()
    if content is not None:
        head_path(path).write_bytes(content)
    assert not verify(path).ok


def test_a_broken_chain_takes_no_more_records(path: Path) -> None:
    path.write_text(path.read_text().replace('"step":2', '"step":3'))
    with pytest.raises(DataError, match="got record 2: the payload was changed; freeze automatic changes"):
        AuditLog(path, at=7.0)


def test_the_same_transition_is_recorded_once_even_after_a_restart(path: Path) -> None:
    log = AuditLog(path, at=7.0)
    assert log.append_once(at=7.0, actor="machine", kind="transition", payload={"step": 4}) is None
    assert log.append_once(at=7.0, actor="machine", kind="transition", payload={"step": 5}) is not None
