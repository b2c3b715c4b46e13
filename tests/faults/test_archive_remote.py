"""The archive on what fsspec reaches: its memory, and a real FTP server that is away, slow, killed and strange."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipeline.errors import ConfigError, SinkError
from pipeline.interfaces import Clock
from pipeline.types import Decision, Prediction
from tests.fakes import FakeClock
from tests.making import make_prediction
from tests.servers.ftp import PASSWORD, FtpServer
from workers.sinks.archive import ALWAYS, ArchiveSink, wants
from workers.sinks.archive_index import ArchiveIndex
from workers.sinks.archive_reader import ArchiveReader
from workers.sinks.archive_remote import RemoteStore, demand_library
from workers.sinks.archive_uploads import ArchiveUploads

SIZE = 1000
WAIT_S = 20.0


class Bench:
    """A distant archive, its index, and what it told."""

    def __init__(self, url: str, *, index: Path, options: dict[str, Any] | None = None, **given: Any) -> None:
        self.url, self.index, self.options = url, index, options or {}
        self.clock = FakeClock()
        self.told: Counter[tuple[str, str]] = Counter()
        self._changed = threading.Condition()
        self._terms: dict[str, Any] = {"max_bytes": 10**9, "max_age_s": 1e6, **given}
        self.queue_bytes = self._terms.pop("queue_bytes", 10**8)
        self.sink = self._made()
        self.reader = ArchiveReader(RemoteStore(url, options=lambda: self.options), index=index)

    def restart(self) -> None:
        self.sink.close()
        self.sink = self._made()

    def until(self, what: str, why: str, *, n: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.told[what, why] >= n, WAIT_S), self.told

    def ids(self) -> list[int]:
        with ArchiveIndex(self.index) as index:
            return sorted(int(kept.event_id.split("-")[3]) for kept in index.newest(n=1000))

    def _made(self) -> ArchiveUploads:
        def archive(closing: Clock) -> ArchiveSink:
            store = RemoteStore(self.url, options=lambda: self.options, clock=closing)
            return ArchiveSink(store, index=self.index, clock=self.clock, note=self._note, **self._terms)

        return ArchiveUploads(
            archive, wants=wants(ALWAYS, audit_share=0.0), max_bytes=self.queue_bytes, note=self._note, close_s=0.5
        )

    def _note(self, what: str, n: float, why: str) -> None:
        with self._changed:
            self.told[what, why] = int(n) if what in ("bytes", "waiting") else self.told[what, why] + int(n)
            self._changed.notify_all()


def _part(sequence: int, *, n_bytes: int = SIZE) -> Prediction:
    content = b"\xff\xd8\xff" + sequence.to_bytes(4, "big") * (n_bytes // 4)
    return replace(make_prediction(sequence), decision=Decision.REJECT, evidence=content[:n_bytes])


Make = Callable[..., Bench]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FtpServer]:
    with FtpServer(tmp_path / "ftp") as server:
        yield server


@pytest.fixture(params=["memory", "ftp"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def bench(**given: Any) -> Bench:
        if request.param == "memory":
            made.append(Bench(f"memory://plant/{uuid.uuid4().hex}", index=tmp_path / "index", **given))
        else:
            server: FtpServer = request.getfixturevalue("server")
            made.append(Bench(server.url, index=tmp_path / "index", options=dict(server.options), **given))
        return made[-1]

    yield bench
    for one in made:
        one.sink.close()


def test_pictures_are_kept_and_read_back_and_what_is_accepted_is_not(make: Make) -> None:
    bench = make()
    accepted = replace(_part(9), decision=Decision.ACCEPT)
    bench.sink.deliver([_part(0), accepted, _part(1)])
    bench.until("kept", "reject", n=2)
    assert bench.ids() == [0, 1]
    assert bench.reader.read(_part(1).ref.event_id) == _part(1).evidence
    assert bench.reader.read(accepted.ref.event_id) is None
    bench.sink.close()
    bench.sink.close()
    with pytest.raises(SinkError, match="after close"):
        bench.sink.deliver([_part(2)])


def test_quota_and_pins_hold_there_too(make: Make) -> None:
    bench = make(max_bytes=3 * SIZE)
    bench.sink.deliver([_part(0)])
    bench.until("kept", "reject", n=1)
    bench.reader.pin(_part(0).ref.event_id)
    for number in range(1, 6):
        bench.clock.advance(1.0)
        bench.sink.deliver([_part(number)])
        bench.until("kept", "reject", n=number + 1)
    bench.until("shed", "bytes", n=3)
    bench.sink.close()
    assert bench.ids() == [0, 4, 5]
    assert bench.reader.read(_part(1).ref.event_id) is None
    assert bench.reader.read(_part(0).ref.event_id) == _part(0).evidence
    store = RemoteStore(bench.url, options=lambda: bench.options)
    assert sorted(size for size, _ in store.pictures().values()) == [SIZE] * 3


def test_old_pictures_go_by_age(make: Make) -> None:
    bench = make(max_age_s=100.0)
    bench.sink.deliver([_part(0)])
    bench.until("kept", "reject", n=1)
    bench.clock.advance(200.0)
    bench.sink.deliver([_part(1)])
    bench.until("shed", "age", n=1)
    assert bench.ids() == [1]


def test_no_name_from_outside_leads_out_of_the_folder(server: FtpServer, tmp_path: Path) -> None:
    bench = Bench(server.url, index=tmp_path / "index", options=dict(server.options))
    for number, source_id in enumerate(("../../evil", "/etc/x", "a\0b", "\udcff"), start=1):
        bench.sink.deliver([replace(_part(1), ref=replace(_part(1).ref, source_id=source_id))])
        bench.until("kept", "reject", n=number)
    assert [path.name for path in server.folder.iterdir()] == ["archive"]
    assert all(len(path.name) == 44 for path in (server.folder / "archive").glob("??/*"))
    (server.folder / "secret").write_bytes(b"secret")
    bench.sink.deliver([_part(2)])
    bench.until("kept", "reject", n=5)
    with ArchiveIndex(bench.index) as index, index.transaction():
        index._connection.execute("UPDATE event SET name = '../../secret'")  # whoever may write to the index
    assert bench.reader.read(_part(2).ref.event_id) is None
    bench.sink.close()


def test_a_server_killed_in_mid_write_leaves_nothing_torn_and_gets_everything_once_it_is_back(
    server: FtpServer, tmp_path: Path
) -> None:
    bench = Bench(server.url, index=tmp_path / "index", options=dict(server.options))
    bench.sink.deliver([_part(0)])
    bench.until("kept", "reject", n=1)
    server.kill()
    server.bytes_per_s = 2_000_000
    server.start()
    bench.sink.deliver([_part(1, n_bytes=4_000_000), _part(2)])
    while not any(path.stat().st_size for path in server.folder.rglob("*.part")):
        pass
    server.kill()
    [torn] = server.folder.rglob("*.part")
    assert 0 < torn.stat().st_size < 4_000_000
    assert sorted(path.stat().st_size for path in server.folder.rglob("*.jpg")) == [SIZE]
    bench.sink.deliver([_part(3)])  # the line goes on
    server.bytes_per_s = 0
    server.start()
    bench.until("kept", "reject", n=4)
    assert bench.ids() == [0, 1, 2, 3]
    assert bench.reader.read(_part(1).ref.event_id) == _part(1, n_bytes=4_000_000).evidence
    assert list(server.folder.rglob("*.part")) == []
    bench.sink.close()


def test_a_server_away_at_the_start_is_waited_for(server: FtpServer, tmp_path: Path) -> None:
    server.kill()
    bench = Bench(server.url, index=tmp_path / "index", options=dict(server.options))
    bench.sink.deliver([_part(0), _part(1)])
    server.start()
    bench.until("kept", "reject", n=2)
    assert bench.ids() == [0, 1]
    bench.sink.close()


def test_while_it_is_away_pictures_wait_up_to_a_bound_and_what_is_given_up_is_counted(
    server: FtpServer, tmp_path: Path
) -> None:
    bench = Bench(server.url, index=tmp_path / "index", options=dict(server.options), queue_bytes=5 * SIZE)
    bench.sink.deliver([_part(0)])
    bench.until("kept", "reject", n=1)
    server.kill()
    for number in range(1, 11):
        bench.sink.deliver([_part(number)])
    assert bench.told["missed", "queue"] == 5
    assert bench.told["waiting", ""] == 5 * SIZE
    bench.sink.close()
    assert bench.told["missed", "queue"] + bench.told["missed", "disk"] == 10
    assert bench.ids() == [0]


def test_what_a_crash_left_half_written_is_removed_and_strange_pictures_are_counted(
    server: FtpServer, tmp_path: Path
) -> None:
    bench = Bench(server.url, index=tmp_path / "index", options=dict(server.options))
    bench.sink.deliver([_part(0)])
    bench.until("kept", "reject", n=1)
    folder = server.folder / "archive" / "ab"
    folder.mkdir(exist_ok=True)
    (folder / f"{'ab' * 20}.jpg.part").write_bytes(b"x")
    (folder / f"{'ab' * 20}.jpg").write_bytes(b"x" * 500)
    bench.restart()
    bench.sink.deliver([_part(1)])
    bench.until("kept", "reject", n=2)
    bench.sink.close()
    assert bench.told["bytes", ""] == 2 * SIZE + 500
    assert list(server.folder.rglob("*.part")) == []
    bench.sink.close()


def test_a_wrong_password_is_said_without_it(server: FtpServer, tmp_path: Path) -> None:
    wrong = "hunter2-do-not-show"
    with structlog.testing.capture_logs() as logs:
        bench = Bench(server.url, index=tmp_path / "index", options={**server.options, "password": wrong})
        bench.sink.deliver([_part(0)])
        until = time.monotonic() + WAIT_S
        while not any("cannot be opened yet" in one["event"] for one in tuple(logs)):
            assert time.monotonic() < until, logs
            time.sleep(0.01)
        bench.options["password"] = PASSWORD  # somebody corrects the file
        bench.until("kept", "reject", n=1)
        bench.sink.close()
    assert "530" in str(logs)
    assert wrong not in str(logs)


def test_an_address_nobody_knows_is_a_configuration_error() -> None:
    demand_library("memory://x")
    with pytest.raises(ConfigError, match=r"archive nonsense://x: .*pip install 'clearline\[fsspec\]'"):
        demand_library("nonsense://x")
