"""The results file under kill -9, a full disk and missing rights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import orjson
import pytest

from pipeline.errors import SinkError
from tests.conftest import ROOT, need
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.sinks.jsonl import JsonlSink

WRITER = """
import sys
from pathlib import Path
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.sinks.jsonl import JsonlSink

first, rotate_bytes = int(sys.argv[2]), int(sys.argv[3])
sink = JsonlSink(Path(sys.argv[1]), clock=FakeClock(), fsync="never", rotate_bytes=rotate_bytes, keep=1000)
sequence = first
while True:
    sink.deliver([make_prediction(sequence + i) for i in range(16)])
    sequence += 16
    print(sequence, flush=True)
"""


def _killed_writer(path: Path, *, first: int, after: int, rotate_bytes: int) -> int:
    """Run a writer, kill it with -9 once it has acknowledged `after` batches; the first sequence not acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(rotate_bytes)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    acknowledged = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait(timeout=10)
    process.stdout.close()
    return max(acknowledged, default=first + 16 * after)


def test_kill_9_while_writing_tears_no_line_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path, chance, first = tmp_path / "results.jsonl", random.Random(7), 0
    acknowledged: list[range] = []
    for _ in range(6):
        end = _killed_writer(path, first=first, after=chance.randint(1, 40), rotate_bytes=50_000)
        acknowledged.append(range(first, end))
        JsonlSink(path, clock=FakeClock()).close()  # what the next start does
        first = end + 1000
        files = [file for file in tmp_path.glob("results.jsonl*") if file.suffix != ".torn"]
        assert all(file.read_bytes().endswith(b"\n") or not file.stat().st_size for file in files)
        written = {orjson.loads(line)["frame"]["seq"] for file in files for line in file.read_bytes().splitlines()}
        assert written.issuperset(chain.from_iterable(acknowledged))
    assert len(files) > 2, "the kills should also have had rotations to hit"


def test_a_full_disk_is_said_with_what_to_do() -> None:
    need(Path("/dev/full").exists(), what="/dev/full", how="run on Linux")
    sink = JsonlSink(Path("/dev/full"), clock=FakeClock())
    with pytest.raises(SinkError, match=r"/dev/full: cannot write: No space left on device; free space"):
        sink.deliver([make_prediction()])
    sink.close()


LIMITED = """
import resource, sys
from pathlib import Path
from pipeline.errors import SinkError
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.sinks.jsonl import JsonlSink

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sink = JsonlSink(Path(sys.argv[1]), clock=FakeClock(), rotate_bytes=1_000_000)
n = 0
try:
    while True:
        sink.deliver([make_prediction(n), make_prediction(n + 1), make_prediction(n + 2)])
        n += 3
except SinkError as error:
    print(n, error)
"""


def test_a_disk_that_fills_up_in_the_middle_of_a_batch_keeps_exactly_the_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-c", LIMITED, str(path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    n = int(said.split()[0])
    assert "cannot write: File too large" in said
    assert n >= 3
    sequences = [orjson.loads(line)["frame"]["seq"] for line in path.read_bytes().splitlines()]
    assert sequences == list(range(n))
    assert path.read_bytes().endswith(b"\n")


def test_a_folder_instead_of_a_file_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="name a file, not a folder"):
        JsonlSink(tmp_path, clock=FakeClock())


def test_a_file_where_a_folder_should_be_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SinkError, match=r"a part of the path is a file"):
        JsonlSink(tmp_path / "runs" / "results.jsonl", clock=FakeClock())


def test_a_folder_without_write_permission_is_refused_at_start(tmp_path: Path) -> None:
    need(os.geteuid() != 0 or Path("/proc/version").exists(), what="a user, or Linux", how="run on Linux")
    if os.geteuid() != 0:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    else:  # rights do not bind root; a file system without files to make does
        folder = Path("/proc")
    with pytest.raises(SinkError, match=r"cannot open: .*; "):
        JsonlSink(folder / "results.jsonl", clock=FakeClock())
