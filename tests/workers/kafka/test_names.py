"""No two live workers have the same name; one that is started again has the one it had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT
from workers.kafka.names import own_name

WORKER = """
import sys
from pathlib import Path
from workers.kafka.names import own_name
print(own_name("line", folder=Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path) -> Iterator[str]:
    """The name of a process that lives until the block ends, and is then killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_live_workers_differ_and_the_next_life_has_the_name_of_the_last(tmp_path: Path) -> None:
    with worker(tmp_path) as first:
        with worker(tmp_path) as second:
            assert first.startswith("line-")
            assert first != second
        with worker(tmp_path) as second_again:
            assert second_again == second
    with worker(tmp_path) as first_again:
        assert first_again == first


def test_where_no_lock_can_be_had_every_name_is_new(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = {own_name("line", folder=tmp_path / "file") for _ in range(2)}
    assert len(names) == 2
