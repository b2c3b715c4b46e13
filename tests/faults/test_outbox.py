"""The outbox under kill -9, a full disk, damaged files and paths that cannot be."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import SinkError
from tests.conftest import ROOT
from tests.outboxes import FileDestination, OutboxBench, full_disk, ids

Box = Callable[..., OutboxBench]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made: list[OutboxBench] = []

    def make(**bounds: float) -> OutboxBench:
        made.append(OutboxBench(tmp_path / "outbox.sqlite", **bounds))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bench in made:
        bench.sink.close()


def damage(path: Path) -> None:
    """Overwrite all but the first pages."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(3 * 16_384)
        file.write(b"\xaa" * (size - 3 * 16_384))


def test_a_file_emptied_gives_its_space_back(box: Box) -> None:
    bench = box(max_bytes=100_000_000)
    bench.destination.away, bench.destination.n_bytes = True, 100_000
    bench.deliver(*range(100))
    assert bench.path.stat().st_size + Path(f"{bench.path}-wal").stat().st_size > 10_000_000
    bench.come_back()
    bench.sink.flush()
    bench.sink.flush()
    assert bench.path.stat().st_size + Path(f"{bench.path}-wal").stat().st_size < 200_000


def test_the_file_at_its_bound_does_not_grow(box: Box) -> None:
    bench = box(max_bytes=1_000_000)
    bench.destination.away, bench.destination.n_bytes = True, 1200
    for first in range(0, 10_000, 50):
        bench.deliver(*range(first, first + 50))
    size = bench.path.stat().st_size
    assert size < 1_500_000
    assert bench.sink.depth().n_bytes > 950_000


def test_a_full_disk_is_said_and_nothing_is_half_there(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(0)
    room = Path(f"{bench.path}-wal").stat().st_size + 20_000
    bench.destination.n_bytes = 10_000
    with full_disk(room), pytest.raises(SinkError, match=r"outbox.sqlite: cannot write: .*; look at that disk"):
        bench.deliver(*range(1, 10))
    assert bench.sink.depth().n_rows == 1
    bench.deliver(*range(1, 10))
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(10))


def test_with_the_disk_full_what_waits_is_still_sent_once_and_new_results_go_directly(box: Box) -> None:
    bench = box()
    bench.destination.away = True
    bench.deliver(*range(40))
    bench.come_back()
    with full_disk():
        bench.deliver(40)
        bench.deliver(41)
        bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(42))
    bench.sink.flush()
    bench.restart()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(*range(42))


def test_a_file_that_is_no_outbox_any_more_is_set_aside_at_the_start(box: Box, tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"\x07" * 50_000)
    bench = box()
    assert (tmp_path / "outbox.sqlite.corrupt-1").read_bytes() == b"\x07" * 50_000
    assert bench.shed == [(1, "corrupt")]
    bench.destination.away = True
    bench.deliver(0)
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids == ids(0)


@pytest.mark.parametrize(("n", "n_bytes"), [(1000, 100), (4, 200_000)], ids=["rows", "a-long-value"])
def test_pages_damaged_while_it_was_closed_are_found_at_the_start(box: Box, n: int, n_bytes: int) -> None:
    bench = box()
    bench.destination.away, bench.destination.n_bytes = True, n_bytes
    bench.deliver(*range(n))
    bench.sink.close()
    damage(bench.path)
    bench.destination.away = False
    bench.sink = bench.open()
    assert bench.shed == [(1, "corrupt")]
    bench.deliver(1000)
    assert bench.destination.event_ids == ids(1000)


def test_pages_damaged_while_it_runs_cost_what_waited_and_one_refusal(box: Box) -> None:
    bench = box(max_bytes=100_000_000)
    bench.destination.away = True
    for first in range(0, 20_000, 5000):  # more than the page cache holds
        bench.deliver(*range(first, first + 5000))
    damage(bench.path)
    bench.come_back()
    with pytest.raises(SinkError, match=r"expected a sound outbox, got .*; it is kept as .*corrupt-1"):
        bench.sink.flush()
    lost = 20_000 - len(bench.destination.received)
    assert bench.shed == [(lost, "corrupt")]
    bench.destination.away = True
    bench.deliver(20_000)
    bench.come_back()
    bench.sink.flush()
    assert bench.destination.event_ids[-1:] == ids(20_000)


def test_files_set_aside_stay_few(box: Box, tmp_path: Path) -> None:
    for _ in range(12):
        (tmp_path / "outbox.sqlite").write_bytes(b"\x07" * 50_000)
        box().sink.close()
    assert len(list(tmp_path.glob("outbox.sqlite.corrupt-?"))) == len(list(tmp_path.glob("*corrupt*"))) == 9


def test_another_database_is_refused_and_left_as_it_is(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(SinkError, match="expected an outbox, got another SQLite database; name another path"):
        box()
    assert path.read_bytes() == before


def test_a_second_process_cannot_drain_the_same_file(box: Box) -> None:
    bench = box()
    with pytest.raises(SinkError, match="another process uses this outbox: stop it, or name another path"):
        bench.open()


def test_a_path_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SinkError, match=r"runs/outbox: cannot open: .*; name a path"):
        OutboxBench(tmp_path / "runs" / "outbox")
    with pytest.raises(SinkError, match=r"cannot open: .*; let this user write there"):
        OutboxBench(tmp_path)


FILLER = """
import random, sys
from pathlib import Path
from tests.fakes import FakeClock
from tests.making import make_prediction
from tests.outboxes import FileDestination
from workers.backoff import Backoff
from workers.outbox.sink import OutboxSink

path, sequence, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[2]))
clock, destination = FakeClock(), FileDestination(path.parent / "received")
backoff = Backoff(initial_s=1.0, cap_s=2.0, rng=chance)
sink = OutboxSink(
    destination, path=path, max_bytes=10**9, max_age_s=1e9, clock=clock, backoff=backoff, on_shed=print
)
while True:
    if chance.random() < 0.1:
        destination.away = not destination.away
    n = chance.randint(1, 40)
    sink.deliver([make_prediction(sequence + i) for i in range(n)])
    sequence += n
    clock.advance(0.5)
    print("taken", sequence, flush=True)
"""


def _killed_filler(path: Path, *, first: int, after: int) -> int:
    """Run a filler, kill it with -9 after `after` lines; the first sequence it had not said was taken."""
    command = [sys.executable, "-c", FILLER, str(path), str(first)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    assert process.wait(timeout=10) == -signal.SIGKILL, "it should not have ended by itself"
    process.stdout.close()
    return max(
        (int(line.split()[1]) for line in lines if line.startswith("taken") and line.endswith("\n")), default=first
    )


def test_kill_9_while_filling_and_draining_loses_nothing_taken_and_repeats_only_portions(tmp_path: Path) -> None:
    chance, first, n_kills = random.Random(7), 0, 5
    taken: list[range] = []
    for _ in range(n_kills):
        end = _killed_filler(tmp_path / "outbox.sqlite", first=first, after=chance.randint(1, 80))
        taken.append(range(first, end))
        first = end + 1000
    bench = OutboxBench(tmp_path / "outbox.sqlite", destination=FileDestination(tmp_path / "received"))
    bench.sink.flush()
    bench.sink.close()
    received = [int(line.split("-")[-2]) for line in (tmp_path / "received").read_text().splitlines()]
    assert set(received).issuperset(itertools.chain.from_iterable(taken))
    assert list(dict.fromkeys(received)) == sorted(set(received))
    assert sum(after <= before for before, after in itertools.pairwise(received)) <= n_kills
    assert sum(map(len, taken)) > 1000
