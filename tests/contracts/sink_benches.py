"""Sinks towards other machines, each with what its reader sees, for the contract suite."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import Client

from pipeline.interfaces import Sink
from pipeline.types import Decision
from tests.fakes import FakeClock
from tests.outboxes import BACKOFF_CAP_S, full_disk
from tests.servers.mosquitto import Mosquitto, Subscriber
from workers.backoff import Backoff
from workers.mqtt.connection import MqttConnection
from workers.opcua.nodes import NAMESPACE
from workers.opcua.server import OpcUaServer
from workers.sinks.archive import ArchiveSink, wants
from workers.sinks.archive_index import ArchiveIndex
from workers.sinks.archive_remote import RemoteStore
from workers.sinks.archive_store import LocalStore
from workers.sinks.archive_uploads import ArchiveUploads
from workers.sinks.mqtt import MqttDestination, MqttSink
from workers.sinks.opcua import OpcUaSink

WAIT_S = 20.0


@dataclass
class Bench:
    """A sink with the reader's view of it, and a way to make it fail."""

    sink: Sink
    read_ids: Callable[[], list[str]]
    read_dead: Callable[[], list[tuple[str, bytes]]]  # reason, original
    failing: Callable[[], AbstractContextManager[None]] | None  # None: it never refuses
    keeps_dead: bool = True
    end: Callable[[], None] = lambda: None


def mqtt(tmp_path: Path) -> Bench:
    """With a real broker."""
    broker, clock = Mosquitto(tmp_path / "broker").start(), FakeClock()
    reader = Subscriber(broker, topic="plant/#")
    sink = MqttSink(
        MqttDestination(MqttConnection("127.0.0.1", broker.port), prefix="plant", clock=clock, state_after=1000),
        path=tmp_path / "mqtt.sqlite",
        max_bytes=10_000_000,
        max_age_s=1e6,
        clock=clock,
        backoff=Backoff(initial_s=0.5, cap_s=BACKOFF_CAP_S),
        on_shed=lambda _n, _reason: None,
    )

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        broker.kill()
        with full_disk():
            yield
        broker.start()
        reader.connect_again()
        clock.advance(BACKOFF_CAP_S)

    def read(kind: str) -> list[dict[str, Any]]:
        return [json.loads(value) for topic, value in reader.caught_up() if topic.split("/")[1] == kind]

    def end() -> None:
        reader.close()
        broker.kill()

    return Bench(
        sink,
        read_ids=lambda: [one["event_id"] for one in read("results")],
        read_dead=lambda: [(one["reason"], base64.b64decode(one["original_base64"])) for one in read("dead")],
        failing=failing,
        end=end,
    )


class _Reading(threading.Thread):
    """A real client that subscribes to the event ids of one region."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._ids = url, queue.Queue[str | None]()
        self._loop, self._done = asyncio.new_event_loop(), asyncio.Event()
        self.start()
        assert self._ids.get(timeout=WAIT_S) is None  # what is there before the first result

    def datachange_notification(self, _node: Any, value: str | None, _data: Any) -> None:
        self._ids.put(value)

    def run(self) -> None:
        async def read() -> None:
            async with Client(self._url) as client:
                index = await client.get_namespace_index(NAMESPACE)
                subscription = await client.create_subscription(10, self)
                node = client.get_node(f"ns={index};s=Clearline/cap-01/full/EventId")
                await subscription.subscribe_data_change(node, queuesize=100)
                await self._done.wait()

        with contextlib.suppress(Exception):  # the server has gone first
            self._loop.run_until_complete(read())

    def ids(self, *, n: int) -> list[str]:
        """The next `n`."""
        return [str(self._ids.get(timeout=WAIT_S)) for _ in range(n)]

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self.join(WAIT_S)
        self._loop.close()


def opcua(tmp_path: Path) -> Bench:
    """With a real client; how many results it is to expect is said by the server's own counter."""
    server = OpcUaServer(
        host="127.0.0.1", port=0, regions=[("cap-01", "full")], stale_s=1e6, clock=FakeClock(), write_s=WAIT_S
    )
    reader = _Reading(server.url)
    nodes = server._nodes
    assert nodes is not None
    region = nodes._regions["cap-01", "full"]

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        go_on = threading.Event()
        server._loop.call_soon_threadsafe(go_on.wait)
        server._write_s = 0.05
        yield
        go_on.set()
        server._write_s = WAIT_S

    return Bench(
        OpcUaSink(server),
        read_ids=lambda: reader.ids(n=region.counter),
        read_dead=list,
        failing=failing,
        keeps_dead=False,
        end=reader.end,
    )


def archive(tmp_path: Path) -> Bench:
    """In a local folder."""
    store = LocalStore(tmp_path / "archive")
    sink = ArchiveSink(
        store, index=store.folder, clock=FakeClock(), keep=frozenset(Decision), max_bytes=10**6, max_age_s=1e6
    )
    return Bench(sink, read_ids=lambda: _kept(store.folder), read_dead=list, failing=None, keeps_dead=False)


def archive_remote(tmp_path: Path) -> Bench:
    """Behind a queue; its reader waits until the queue is empty."""
    index, url = tmp_path / "index", f"memory://contract/{tmp_path.name}"

    sink = ArchiveUploads(
        lambda closing: ArchiveSink(
            RemoteStore(url, options=dict, clock=closing),
            index=index,
            clock=FakeClock(),
            keep=frozenset(Decision),
            max_bytes=10**6,
            max_age_s=1e6,
        ),
        wants=wants(frozenset(Decision), audit_share=0.0),
        max_bytes=10**6,
    )

    def ids() -> list[str]:
        with sink._changed:
            assert sink._changed.wait_for(lambda: not sink._queue, WAIT_S)
        return _kept(index)

    return Bench(sink, read_ids=ids, read_dead=list, failing=None, keeps_dead=False)


def _kept(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    with ArchiveIndex(folder) as index:
        return [one.event_id for one in reversed(index.newest(n=100))]
