"""The archive: what it keeps, what it gives up first, and that it never holds up a line."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SinkError
from pipeline.interfaces import Sink
from pipeline.types import DeadLetter, Decision, Prediction
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from tests.outboxes import full_disk
from workers.sinks.archive import AGE_CHECK_S, ArchiveSink
from workers.sinks.archive_index import ArchiveIndex
from workers.sinks.archive_reader import ArchiveReader
from workers.sinks.archive_store import LocalStore

SIZE = 1000


class Bench:
    """An archive in a folder, its clock, and what it told."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.told: Counter[tuple[str, str]] = Counter()
        self.n_bytes = 0.0
        terms: dict[str, Any] = {"max_bytes": 100 * SIZE, "max_age_s": 1e6, **given}
        free = {"free_bytes": terms.pop("free_bytes")} if "free_bytes" in terms else {}
        self.store = LocalStore(folder, **free)
        self.sink = ArchiveSink(self.store, index=folder, clock=self.clock, note=self._note, **terms)

    def _note(self, what: str, n: float, why: str) -> None:
        if what == "bytes":
            self.n_bytes = n
        else:
            self.told[what, why] += int(n)

    def picture(self, part: Prediction) -> bytes | None:
        return ArchiveReader(self.store, index=self.folder).read(part.ref.event_id)

    def files(self) -> int:
        return len([path for path in self.folder.glob("??/*")])

    def events(self) -> list[int]:
        with ArchiveIndex(self.folder) as index:
            return sorted(int(kept.event_id.split("-")[3]) for kept in index.newest(n=1000))


def _part(sequence: int, *, decision: Decision = Decision.REJECT, start: bytes = b"\xff\xd8\xff") -> Prediction:
    content = start + bytes([sequence % 256]) * (SIZE - len(start))
    return replace(make_prediction(sequence), decision=decision, evidence=content)


def test_it_is_a_sink_with_a_name_that_takes_nothing_after_close(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert isinstance(bench.sink, Sink)
    assert bench.sink.name == "archive"
    bench.sink.deliver([])
    bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "", b"x", make_ref(3)))
    bench.sink.flush()
    bench.sink.close()
    bench.sink.close()
    with pytest.raises(SinkError):
        bench.sink.deliver([_part(1)])
    with pytest.raises(SinkError):
        bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "", b"x", make_ref(3)))
    assert bench.files() == 0


def test_rejects_and_doubts_are_kept_with_their_bytes_and_accepted_parts_are_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    parts = [_part(number, decision=decision) for number, decision in enumerate(Decision)]
    bench.sink.deliver(parts)
    for part in parts:
        kept = bench.picture(part)
        assert kept == (None if part.decision is Decision.ACCEPT else part.evidence)
    assert bench.told == {("kept", "reject"): 1, ("kept", "review"): 1, ("kept", "unknown"): 1}
    assert bench.n_bytes == 3 * SIZE


def test_the_random_share_of_accepted_parts_is_the_same_whoever_draws(tmp_path: Path) -> None:
    parts = [_part(number, decision=Decision.ACCEPT) for number in range(2000)]
    first, second = Bench(tmp_path / "a", audit_share=0.02), Bench(tmp_path / "b", audit_share=0.02)
    first.sink.deliver(parts)
    for part in reversed(parts):
        second.sink.deliver([part])
    assert first.events() == second.events()
    assert 20 <= len(first.events()) <= 60
    everything = Bench(tmp_path / "c", audit_share=1.0, max_bytes=10_000 * SIZE)
    everything.sink.deliver(parts[:50])
    assert len(everything.events()) == 50


def test_the_index_says_what_was_decided(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    part = _part(7)
    bench.sink.deliver([part, _part(8, decision=Decision.REVIEW)])
    with ArchiveIndex(tmp_path) as index:
        kept = index.event(part.ref.event_id)
        assert kept is not None
        assert (kept.source_id, kept.roi_id, kept.label, kept.decision) == ("cap-01", "full", "ok", "reject")
        assert (kept.confidence, kept.captured_at, kept.head) == (0.9, part.ref.captured_at, "demo 1")
        assert [one.decision for one in index.newest(n=5)] == ["review", "reject"]
        assert [one.decision for one in index.newest(n=5, decision="reject", source_id="cap-01")] == ["reject"]
        assert index.newest(n=5, source_id="cap-02") == []


def test_all_regions_of_a_picture_share_one_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    left = _part(1)
    right = replace(left, ref=replace(left.ref, roi_id="right"))
    bench.sink.deliver([left, right])
    bench.sink.deliver([right])
    assert bench.files() == 1
    assert bench.n_bytes == SIZE
    assert bench.picture(right) == left.evidence


def test_no_name_from_outside_leads_out_of_the_folder(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "archive")
    part = _part(1)
    for source_id in ("../../evil", "/etc/x", "a\0b", "\udcff"):
        bench.sink.deliver([replace(part, ref=replace(part.ref, source_id=source_id))])
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert all(len(path.name) == 44 and path.suffix == ".jpg" for path in (tmp_path / "archive").glob("??/*"))
    bench.sink.deliver([_part(2, start=b"\x89PNG\r\n\x1a\n")])
    assert len(list((tmp_path / "archive").glob("??/*.png"))) == 1


def test_beyond_its_bytes_the_oldest_go_and_pinned_ones_stay(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=3 * SIZE)
    for number in range(3):
        bench.sink.deliver([_part(number)])
        bench.clock.advance(1.0)
    with ArchiveIndex(tmp_path) as index:
        assert index.pin(_part(0).ref.event_id)
        assert not index.pin("nobody")
    for number in range(3, 6):
        bench.sink.deliver([_part(number)])
        bench.clock.advance(1.0)
    assert bench.events() == [0, 4, 5]
    assert bench.files() == 3
    assert (bench.told["shed", "bytes"], bench.n_bytes) == (3, 3 * SIZE)


def test_beyond_their_age_they_go_even_on_a_quiet_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_age_s=100.0)
    bench.sink.deliver([_part(0)])
    bench.clock.advance(101.0 + AGE_CHECK_S)
    bench.sink.flush()
    assert (bench.files(), bench.events(), bench.told["shed", "age"]) == (0, [], 1)


def test_a_disk_with_little_room_is_given_some_and_nothing_is_added_where_that_does_not_help(tmp_path: Path) -> None:
    others = 0  # bytes that something else has taken

    def free(folder: Path) -> int:
        return 10 * SIZE - others - sum(path.stat().st_size for path in folder.glob("??/*"))

    bench = Bench(tmp_path, min_free_bytes=4 * SIZE, free_bytes=free)
    for number in range(6):
        bench.sink.deliver([_part(number)])
        bench.clock.advance(1.0)
    others = 3 * SIZE
    bench.sink.deliver([_part(6)])
    assert bench.told["shed", "disk"] == 3
    assert bench.events() == [3, 4, 5, 6]
    others = 9 * SIZE
    bench.sink.deliver([_part(7)])
    assert (bench.events(), bench.told["missed", "disk"]) == ([], 1)


def test_a_write_that_finds_the_disk_full_is_tried_again_after_shedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.sink.deliver([_part(0)])
    write, full = Path.write_bytes, [True]

    def once_full(path: Path, data: bytes) -> int:
        if full.pop() if full else False:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", once_full)
    bench.sink.deliver([_part(1)])
    assert bench.events() == [1]
    assert bench.told == {("kept", "reject"): 2, ("shed", "disk"): 1}


def test_a_disk_that_takes_nothing_holds_up_no_delivery(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with full_disk():
        bench.sink.deliver([_part(0), _part(1)])
    assert sum(n for (what, _), n in bench.told.items() if what == "missed") == 2
    assert bench.files() == 0
    bench.sink.deliver([_part(2)])
    assert bench.events() == [2]


def test_a_part_without_a_picture_or_with_one_too_large_is_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=SIZE - 1)
    bench.sink.deliver([replace(_part(0), evidence=None), _part(1)])
    assert bench.told == {("missed", "no_picture"): 1, ("missed", "too_large"): 1}


def test_after_a_crash_files_and_index_agree_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.sink.deliver([_part(number) for number in range(3)])
    bench.sink.close()
    gone, part_written = sorted(tmp_path.glob("??/*"))[0], tmp_path / "ab" / f"{'ab' * 20}.part"
    gone.unlink()
    part_written.parent.mkdir(exist_ok=True)
    part_written.write_bytes(b"x" * 10)
    orphan = bench.store.path(f"{'cd' * 20}.jpg")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x" * 500)
    again = Bench(tmp_path)
    assert again.n_bytes == 2 * SIZE + 500
    assert len(again.events()) == 2
    assert not part_written.exists()


def test_a_damaged_index_is_made_anew_and_the_pictures_still_count(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.sink.deliver([_part(number) for number in range(3)])
    bench.sink.close()
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 1000)
    again = Bench(tmp_path)
    assert again.n_bytes == 3 * SIZE
    assert (tmp_path / "index.sqlite.damaged").exists()
    again.sink.deliver([_part(9)])
    assert again.events() == [9]


def test_a_folder_that_cannot_be_written_is_known_before_the_first_frame(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SinkError, match="expected a folder to keep pictures in"):
        Bench(tmp_path / "file" / "archive")


def test_an_index_that_another_process_holds_is_no_reason_to_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sinks.archive_index.BUSY_S", 0.01)
    bench = Bench(tmp_path)
    holder = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    bench.sink.deliver([_part(0)])
    holder.execute("ROLLBACK")
    holder.close()
    assert (bench.told["missed", "index"], bench.files()) == (1, 0)
