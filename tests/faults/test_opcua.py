"""The OPC UA server as a PLC meets it: a real client reads, subscribes, is slow, is refused."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, Decision
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from tests.servers.certificates import Authority
from tests.servers.ports import free_port
from workers.opcua.nodes import NAMESPACE
from workers.opcua.server import LINE_ALIVE_S, OpcUaServer, Security
from workers.sinks.opcua import OpcUaSink

STALE_S, WAIT_S = 5.0, 20.0
NAMES = ("Label", "Reject", "Decision", "Confidence", "EventId", "CapturedAt", "Counter")
RIGHT, WRONG = "plc-secret", "hunter2-do-not-show"
T = TypeVar("T")


class Plc:
    """A client with an event loop of its own."""

    def __init__(self, server: OpcUaServer) -> None:
        self._url = server.url
        self._index = 0

    def __call__(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        async def connected() -> T:
            async with Client(self._url) as client:
                self._index = await client.get_namespace_index(NAMESPACE)
                return await work(client)

        return asyncio.run(asyncio.wait_for(connected(), WAIT_S))

    def node(self, client: Client, path: str) -> Any:
        return client.get_node(f"ns={self._index};s=Clearline/{path}")

    def read(self, region: str) -> dict[str, ua.DataValue]:
        """All values of a region in one request."""

        async def work(client: Client) -> dict[str, ua.DataValue]:
            nodes = [self.node(client, f"{region}/{name}").nodeid for name in NAMES]
            values = await client.uaclient.read_attributes(nodes, ua.AttributeIds.Value)
            return dict(zip(NAMES, values, strict=True))

        return self(work)

    def until(self, path: str, *, wanted: Callable[[Any], bool]) -> Any:
        """The first value of a node that is wanted; the server says when it changes."""

        async def work(client: Client) -> Any:
            changes: asyncio.Queue[Any] = asyncio.Queue()

            class Handler:
                def datachange_notification(self, _node: Any, value: Any, _data: Any) -> None:
                    changes.put_nowait(value)

            subscription = await client.create_subscription(50, Handler())
            await subscription.subscribe_data_change(self.node(client, path))
            while not wanted(value := await changes.get()):
                pass
            return value

        return self(work)


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def server(clock: FakeClock) -> Iterator[OpcUaServer]:
    made = OpcUaServer(host="127.0.0.1", port=0, regions=[("cap-01", "full")], stale_s=STALE_S, clock=clock)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sink(server: OpcUaServer) -> OpcUaSink:
    return OpcUaSink(server)


@pytest.fixture(scope="module")
def plc(server: OpcUaServer) -> Plc:
    return Plc(server)


def _is_bad(value: ua.DataValue) -> bool:
    assert value.StatusCode is not None
    return value.StatusCode.is_bad()


def test_before_the_first_result_everything_is_bad_and_the_reject_bit_is_set(plc: Plc) -> None:
    values = plc.read("cap-01/full")
    assert {name for name in NAMES if _is_bad(values[name])} == {*NAMES} - {"Reject"}
    assert values["Reject"].Value.Value is True
    assert values["Reject"].StatusCode.is_uncertain()


def test_a_result_is_there_when_deliver_returns_with_the_time_of_its_capture(sink: OpcUaSink, plc: Plc) -> None:
    sink.deliver([make_prediction(7, source_id="cap-02")])
    values = plc.read("cap-02/full")
    captured = datetime.fromtimestamp(1_700_000_007.0, UTC)
    assert {name: values[name].Value.Value for name in NAMES} == {
        "Label": "ok",
        "Reject": False,
        "Decision": "accept",
        "Confidence": 0.9,
        "EventId": "cap-02-1-7-full",
        "CapturedAt": captured,
        "Counter": 1,
    }
    assert {value.SourceTimestamp for value in values.values()} == {captured}
    assert values["Reject"].StatusCode.is_good()
    assert values["Reject"].Value.VariantType is ua.VariantType.Boolean


@pytest.mark.parametrize("decision", Decision)
def test_all_but_accepted_parts_set_the_reject_bit(sink: OpcUaSink, plc: Plc, decision: Decision) -> None:
    sink.deliver([replace(make_prediction(0, source_id="cap-03"), decision=decision)])
    values = plc.read("cap-03/full")
    assert values["Reject"].Value.Value is (decision is not Decision.ACCEPT)
    assert values["Decision"].Value.Value == decision.value


def test_a_subscriber_is_told_of_every_result_in_order(sink: OpcUaSink, plc: Plc) -> None:
    sink.deliver([make_prediction(0, source_id="cap-04")])

    async def work(client: Client) -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()

        class Handler:
            def datachange_notification(self, _node: Any, value: str, _data: Any) -> None:
                told.put_nowait(value)

        subscription = await client.create_subscription(50, Handler())
        await subscription.subscribe_data_change(plc.node(client, "cap-04/full/EventId"), queuesize=1000)
        assert await told.get() == "cap-04-1-0-full"
        for first in range(1, 100, 10):
            batch = [make_prediction(n, source_id="cap-04") for n in range(first, first + 10)]
            await asyncio.to_thread(sink.deliver, batch)
        return [await told.get() for _ in range(100)]

    assert plc(work) == [f"cap-04-1-{n}-full" for n in range(1, 101)]


def test_values_of_different_results_are_never_read_together(sink: OpcUaSink, plc: Plc) -> None:
    done = threading.Event()

    def stream() -> None:
        for number in itertools.count():
            labels = ("ok", Decision.ACCEPT) if number % 2 else ("scratch", Decision.REJECT)
            one = make_prediction(number, source_id="cap-05", label=labels[0])
            sink.deliver([replace(one, decision=labels[1])])
            if done.is_set():
                return

    sink.deliver([make_prediction(0, source_id="cap-05")])
    thread = threading.Thread(target=stream)
    thread.start()

    async def work(client: Client) -> list[tuple[Any, ...]]:
        nodes = [plc.node(client, f"cap-05/full/{name}").nodeid for name in ("Label", "Reject", "Decision", "EventId")]
        rows = [await client.uaclient.read_attributes(nodes, ua.AttributeIds.Value) for _ in range(200)]
        return [tuple(value.Value.Value for value in row) for row in rows]

    try:
        rows = plc(work)
    finally:
        done.set()
        thread.join()
    assert {row[:3] for row in rows[1:]} <= {("ok", False, "accept"), ("scratch", True, "reject")}
    assert len({row[3] for row in rows}) > 10, "results went on meanwhile"


def test_results_that_are_too_old_turn_bad_the_reject_bit_is_set_and_ready_falls(
    sink: OpcUaSink, plc: Plc, clock: FakeClock
) -> None:
    sink.deliver([make_prediction(0, source_id="cap-06")])
    assert plc.read("cap-06/full")["Reject"].Value.Value is False
    clock.advance(STALE_S - 1.0)
    sink.flush()
    assert plc.until("Heartbeat", wanted=lambda value: value is not None) is not None
    assert plc.read("cap-06/full")["Reject"].StatusCode.is_good()
    clock.advance(1.5)
    assert plc.until("cap-06/full/Reject", wanted=lambda value: value is True)
    values = plc.read("cap-06/full")
    assert all(_is_bad(values[name]) for name in NAMES if name != "Reject")
    assert values["Reject"].StatusCode.is_uncertain()
    assert plc.until("Ready", wanted=lambda value: value is False) is False
    sink.deliver([make_prediction(1, source_id="cap-06")])
    values = plc.read("cap-06/full")
    assert (values["Reject"].Value.Value, values["Counter"].Value.Value) == (False, 2)
    assert not any(_is_bad(value) for value in values.values())


def test_ready_is_set_while_every_region_has_a_fresh_result(clock: FakeClock) -> None:
    server = OpcUaServer(
        host="127.0.0.1", port=0, regions=[("cap-01", "full"), ("cap-02", "full")], stale_s=STALE_S, clock=clock
    )
    sink, plc = OpcUaSink(server), Plc(server)
    sink.deliver([make_prediction(0, source_id="cap-01")])
    assert plc.until("Ready", wanted=lambda value: value is False) is False
    sink.deliver([make_prediction(0, source_id="cap-02")])
    assert plc.until("Ready", wanted=lambda value: value is True) is True
    beat = plc.until("Heartbeat", wanted=lambda value: value > 0)
    assert plc.until("Heartbeat", wanted=lambda value: value > beat) > beat
    clock.advance(LINE_ALIVE_S + 0.1)  # the line's thread hangs
    assert plc.until("Ready", wanted=lambda value: value is False) is False
    sink.flush()
    assert plc.until("Ready", wanted=lambda value: value is True) is True
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="after close"):
        sink.deliver([make_prediction(1)])


def test_a_dead_letter_changes_nothing(sink: OpcUaSink, plc: Plc) -> None:
    sink.deliver([make_prediction(0, source_id="cap-07")])
    sink.dead_letter(DeadLetter("cap-07", "undecodable", "", b"x", make_ref(1, source_id="cap-07")))
    assert plc.read("cap-07/full")["Counter"].Value.Value == 1


def test_a_client_may_neither_write_nor_add_nor_delete(plc: Plc) -> None:
    async def work(client: Client) -> None:
        node = plc.node(client, "cap-01/full/Reject")
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            await node.write_value(False)
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            await client.nodes.objects.add_object(2, "x")
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            await client.delete_nodes([node])

    plc(work)


def test_a_client_that_stops_reading_holds_nobody_up(sink: OpcUaSink, plc: Plc) -> None:
    sink.deliver([make_prediction(0, source_id="cap-08")])
    subscribed: queue.Queue[bool] = queue.Queue()
    go_on = threading.Event()

    async def stuck(client: Client) -> None:
        class Handler:
            def datachange_notification(self, *_: Any) -> None:
                subscribed.put(True)
                go_on.wait(WAIT_S)  # its whole event loop hangs

        subscription = await client.create_subscription(10, Handler())
        await subscription.subscribe_data_change(plc.node(client, "cap-08/full/EventId"), queuesize=10)
        await asyncio.to_thread(go_on.wait, WAIT_S)

    slow = threading.Thread(target=lambda: plc(stuck))
    slow.start()
    assert subscribed.get(timeout=WAIT_S)
    try:
        for number in range(1, 2001):
            sink.deliver([make_prediction(number, source_id="cap-08")])
        assert plc.read("cap-08/full")["EventId"].Value.Value == "cap-08-1-2000-full"
    finally:
        go_on.set()
        slow.join()


def test_a_server_that_is_stuck_is_a_refusal_and_what_was_refused_comes_again(clock: FakeClock) -> None:
    server = OpcUaServer(host="127.0.0.1", port=0, regions=[], stale_s=STALE_S, clock=clock, write_s=0.05)
    sink, go_on = OpcUaSink(server), threading.Event()
    server._loop.call_soon_threadsafe(go_on.wait)
    with pytest.raises(SinkError, match=r"expected results to be taken within 0.05 s"):
        sink.deliver([make_prediction(0)])
    go_on.set()
    server._write_s = WAIT_S
    sink.deliver([make_prediction(0)])
    assert Plc(server).read("cap-01/full")["Counter"].Value.Value == 1
    sink.close()


def test_a_port_that_is_taken_is_one_clear_error_with_exit_code_6(server: OpcUaServer, clock: FakeClock) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    with pytest.raises(SinkError, match=rf"opcua 127.0.0.1:{port}: .*address already in use.*choose another port") as e:
        OpcUaServer(host="127.0.0.1", port=port, regions=[], stale_s=STALE_S, clock=clock)
    assert e.value.exit_code == 6


def test_a_secured_server_takes_the_right_password_over_an_encrypted_channel_only(
    tmp_path: Path, clock: FakeClock
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", hosts=("127.0.0.1",), uri="urn:plant:line-3")
    own = authority.issue("plc", uri="urn:plant:plc")
    users = {"plc": lambda: RIGHT}
    security = Security(certificate_file=certificate, key_file=key, users=users)
    assert RIGHT not in repr(security)
    server = OpcUaServer(
        host="127.0.0.1",
        port=free_port(),
        regions=[("cap-01", "full")],
        stale_s=STALE_S,
        clock=clock,
        security=security,
    )
    OpcUaSink(server).deliver([make_prediction(3)])

    async def label(*, user: str = "plc", password: str = RIGHT, encrypted: bool = True) -> Any:
        client = Client(server.url)
        client.application_uri = "urn:plant:plc"
        if user:
            client.set_user(user)
            client.set_password(password)
        if encrypted:
            await client.set_security(SecurityPolicyBasic256Sha256, str(own[0]), str(own[1]))
        async with client:
            index = await client.get_namespace_index(NAMESPACE)
            return await client.get_node(f"ns={index};s=Clearline/cap-01/full/Label").read_value()

    assert asyncio.run(label()) == "ok"
    for refused in ({"password": WRONG}, {"user": "stranger"}, {"user": ""}, {"encrypted": False}):
        with pytest.raises((ua.UaError, ConnectionError, TimeoutError)):
            asyncio.run(label(**refused))
    server.close()
    missing = replace(security, key_file=tmp_path / "gone.key")
    with pytest.raises(SinkError, match="No such file"):
        OpcUaServer(host="127.0.0.1", port=0, regions=[], stale_s=STALE_S, clock=clock, security=missing)
