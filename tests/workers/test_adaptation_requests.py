"""Requests to a running line, and the lock that says whether there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError
from tests.fakes import FakeClock
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.lock import AdaptationLock, held_unless_running
from workers.adaptation.requests import RequestKind, submit, take_all, waiting


@pytest.fixture
def files(tmp_path: Path) -> AdaptationFiles:
    return AdaptationFiles(tmp_path / "adaptation")


def test_requests_are_taken_once_in_the_order_they_were_made(files: AdaptationFiles) -> None:
    for at, by in ((20.0, "second"), (10.0, "first"), (20.5, "third")):
        submit(files, kind=RequestKind.CHANGEOVER, by=by, at=at, product="lid")
    assert waiting(files) == 3
    taken = take_all(files)
    assert [one.by for one in taken] == ["first", "second", "third"]
    assert (taken[0].kind, taken[0].at, taken[0].values) == (RequestKind.CHANGEOVER, 10.0, {"product": "lid"})
    assert take_all(files) == []


def test_without_a_folder_there_is_nothing_to_take(files: AdaptationFiles) -> None:
    assert (take_all(files), waiting(files)) == ([], 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "dance", "by": "ada", "at": 1, "values": {}}'])
def test_what_is_no_request_is_left_out_and_does_not_come_again(files: AdaptationFiles, content: bytes) -> None:
    submit(files, kind=RequestKind.THAW, by="ada", at=5.0)
    (files.commands / "00000000T000000.000000Z-x.json").write_bytes(content)
    assert [one.kind for one in take_all(files)] == [RequestKind.THAW]
    assert waiting(files) == 0


def test_a_half_written_request_is_not_taken(files: AdaptationFiles) -> None:
    files.commands.mkdir(parents=True)
    (files.commands / ".tmp-20260101T000000.000000Z-aa.json-9").write_bytes(b"{")
    (files.commands / ".tmp-x.json").write_bytes(b"{")
    assert take_all(files) == []


@pytest.mark.parametrize("by", ["", "   ", "a\nb", "x" * 121])
def test_somebody_has_to_be_named(files: AdaptationFiles, by: str) -> None:
    with pytest.raises(DataError, match="name a person"):
        submit(files, kind=RequestKind.FREEZE, by=by, at=1.0)


def test_one_holds_the_lock_and_the_next_one_sees_it(files: AdaptationFiles) -> None:
    line = AdaptationLock(files)
    with held_unless_running(files) as mine:
        assert not mine
    with pytest.raises(DataError, match="the only one that changes it"):
        AdaptationLock(files)
    line.close()
    line.close()
    with held_unless_running(files) as mine:
        assert mine


def test_a_line_that_starts_waits_for_a_command_and_not_for_ever(files: AdaptationFiles) -> None:
    clock = FakeClock()
    with held_unless_running(files), pytest.raises(DataError, match="stop that one"):
        AdaptationLock(files, clock=clock, wait_s=5.0)
    AdaptationLock(files, clock=clock, wait_s=5.0).close()
