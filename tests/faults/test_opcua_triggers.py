"""A PLC announces parts on the OPC UA server of the line, with a real client."""

from __future__ import annotations

import queue

from asyncua import Client, ua

from tests.fakes import FakeClock
from tests.faults.test_opcua import STALE_S, WAIT_S, Plc
from tests.servers.ports import free_port
from workers.opcua.server import OpcUaServer
from workers.triggers.queue import TriggerRefused


def test_a_plc_announces_parts_by_writing_their_id_and_can_write_nothing_else() -> None:
    announced: queue.Queue[tuple[str, str | None]] = queue.Queue()

    def fire(camera: str, part: str | None) -> str:
        announced.put((camera, part))
        if part == "too much":
            raise TriggerRefused("full", reason="overflow")
        return part or "made"

    server = OpcUaServer(
        host="127.0.0.1",
        port=free_port(),
        regions=[("cap-01", "full"), ("cap-02", "full")],
        stale_s=STALE_S,
        clock=FakeClock(),
        triggers={"cap-01": fire},
    )
    plc = Plc(server)

    async def write(client: Client) -> list[str]:
        node = plc.node(client, "cap-01/Trigger")
        for value in ("lot7-0001", "lot7-0001", "", "too much", "lot7-0002"):
            await node.write_value(ua.Variant(value, ua.VariantType.String))
        refused = []
        for path, value in (("cap-01/full/Label", "ok"), ("cap-02/Trigger", "x")):
            try:
                await plc.node(client, path).write_value(ua.Variant(value, ua.VariantType.String))
            except ua.UaError as error:
                refused.append(type(error).__name__)
        return refused

    try:
        refused = plc(write)
    finally:
        server.close()
    told = [announced.get(timeout=WAIT_S) for _ in range(5)]
    assert told == [("cap-01", part) for part in ("lot7-0001", "lot7-0001", None, "too much", "lot7-0002")]
    assert announced.empty()
    assert refused == ["BadUserAccessDenied"] * 2
