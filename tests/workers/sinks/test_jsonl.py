"""Rotation, repair and sync of the results file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.errors import SinkError
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.sinks.jsonl import JsonlSink


def _sink(path: Path, **options: Any) -> JsonlSink:
    return JsonlSink(path, **{"clock": FakeClock(), **options})


def _sequences(path: Path) -> list[int]:
    return [orjson.loads(line)["frame"]["seq"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Descriptors of regular files handed to fsync, in order."""
    seen: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            seen.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_missing_folders_are_made(tmp_path: Path) -> None:
    _sink(tmp_path / "a" / "b" / "results.jsonl").close()
    assert (tmp_path / "a" / "b" / "results.jsonl").is_file()


def test_results_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for sequence in (0, 1):
        sink = _sink(path)
        sink.deliver([make_prediction(sequence)])
        sink.close()
    assert _sequences(path) == [0, 1]


def test_a_full_file_is_numbered_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path, rotate_bytes=1, keep=2)
    for sequence in range(5):
        sink.deliver([make_prediction(sequence)])
    sink.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.jsonl", "results.jsonl.1", "results.jsonl.2"]
    assert [_sequences(file)[0] for file in sorted(tmp_path.iterdir())] == [4, 3, 2]


def test_keeping_no_old_file_deletes_the_full_one(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "results.jsonl", rotate_bytes=1, keep=0)
    for sequence in range(3):
        sink.deliver([make_prediction(sequence)])
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]
    assert _sequences(tmp_path / "results.jsonl") == [2]


def test_no_file_grows_beyond_the_limit_while_a_batch_fits(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path, rotate_bytes=3000, keep=50)
    for sequence in range(20):
        sink.deliver([make_prediction(sequence)])
    sink.close()
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 3000
    assert sum(len(_sequences(file)) for file in tmp_path.iterdir()) == 20


@pytest.mark.parametrize("fragment", [b'{"schema_version": "1.0", "event', b"\0" * 100, b"{" + b"x" * 200_000])
def test_a_torn_last_line_is_moved_aside_and_the_whole_lines_stay(tmp_path: Path, fragment: bytes) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path)
    sink.deliver([make_prediction(0)])
    sink.close()
    with path.open("ab") as file:
        file.write(fragment)
    sink = _sink(path)
    sink.deliver([make_prediction(1)])
    sink.close()
    assert _sequences(path) == [0, 1]
    assert (tmp_path / "results.jsonl.torn").read_bytes() == fragment + b"\n"


def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"ftypisom no newline at the end")
    with pytest.raises(SinkError, match="expected JSON lines"):
        _sink(path)
    assert path.read_bytes() == b"ftypisom no newline at the end"


def test_a_second_writer_of_the_same_file_is_refused(tmp_path: Path) -> None:
    first = _sink(tmp_path / "results.jsonl")
    with pytest.raises(SinkError, match="another process writes this file"):
        _sink(tmp_path / "results.jsonl")
    first.close()
    _sink(tmp_path / "results.jsonl").close()


def test_a_file_moved_away_by_somebody_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path)
    sink.deliver([make_prediction(0)])
    path.rename(tmp_path / "moved.jsonl")
    sink.deliver([make_prediction(1)])
    sink.close()
    assert _sequences(tmp_path / "moved.jsonl") == [0]
    assert _sequences(path) == [1]


def test_fsync_batch_syncs_each_delivery(tmp_path: Path, syncs: list[int]) -> None:
    sink = _sink(tmp_path / "results.jsonl", fsync="batch")
    for sequence in range(3):
        sink.deliver([make_prediction(sequence)])
    assert len(syncs) == 3
    sink.close()
    assert len(syncs) == 3


def test_fsync_interval_syncs_when_the_time_has_come_and_on_flush(tmp_path: Path, syncs: list[int]) -> None:
    clock = FakeClock()
    sink = _sink(tmp_path / "results.jsonl", clock=clock, fsync="interval", fsync_interval_s=1.0)
    sink.deliver([make_prediction(0)])
    clock.advance(0.9)
    sink.deliver([make_prediction(1)])
    assert len(syncs) == 0
    clock.advance(0.1)
    sink.deliver([make_prediction(2)])
    assert len(syncs) == 1
    sink.deliver([make_prediction(3)])
    sink.flush()
    assert len(syncs) == 2
    sink.close()


def test_fsync_never_leaves_it_to_the_system(tmp_path: Path, syncs: list[int]) -> None:
    sink = _sink(tmp_path / "results.jsonl", fsync="never", rotate_bytes=1)
    for sequence in range(3):
        sink.deliver([make_prediction(sequence)])
    sink.flush()
    sink.close()
    assert syncs == []


def test_a_failed_sync_takes_the_batch_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path)
    sink.deliver([make_prediction(0)])

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(SinkError, match="Input/output error"):
            sink.deliver([make_prediction(1)])
    assert _sequences(path) == [0]
    sink.deliver([make_prediction(1)])
    sink.close()
    assert _sequences(path) == [0, 1]


def test_a_rotation_that_fails_is_tried_again_by_the_next_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    sink = _sink(path, rotate_bytes=1, keep=1)
    sink.deliver([make_prediction(0)])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _no_space)
        with pytest.raises(SinkError, match="No space left"):
            sink.deliver([make_prediction(1)])
    assert _sequences(path) == [0]
    sink.deliver([make_prediction(1)])
    sink.close()
    assert (_sequences(tmp_path / "results.jsonl.1"), _sequences(path)) == ([0], [1])


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")
