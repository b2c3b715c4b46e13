"""A really running line whose cameras wait for a message on MQTT and for a PLC."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncua import Client, ua
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import free_port
from workers.app import Pipeline
from workers.opcua.nodes import NAMESPACE

WAIT_S = 20.0


async def announce(port: int, *, camera: str, part: str) -> None:
    async with Client(f"opc.tcp://127.0.0.1:{port}/clearline") as client:
        index = await client.get_namespace_index(NAMESPACE)
        node = client.get_node(f"ns={index};s=Clearline/{camera}/Trigger")
        await node.write_value(ua.Variant(part, ua.VariantType.String))


def test_messages_and_a_plc_announce_parts_on_the_connections_of_the_lines_own_sinks(tmp_path: Path) -> None:
    fit_head_in(tmp_path, classes=load_dictionary(TEXTS).class_ids)
    opcua_port = free_port()
    with Mosquitto(tmp_path / "broker") as broker:
        sinks = [
            {"type": "mqtt", "host": "127.0.0.1", "port": broker.port, "outbox": {"path": str(tmp_path / "m.sqlite")}},
            {"type": "opcua", "port": opcua_port},
        ]
        camera = simulated(None, speed="real_time", fps=50)
        cameras = [
            {"id": f"cap-{kind}", "source": camera, "trigger": {"type": kind, "frames": 2}, "parts": {"by": "trigger"}}
            for kind in ("mqtt", "opcua")
        ]
        config = write_config(tmp_path, sources=[], sinks=sinks, cameras=cameras)
        with Pipeline.from_config(config) as pipeline:
            results = pipeline.results()
            asyncio.run(asyncio.wait_for(announce(opcua_port, camera="cap-opcua", part="plc-1"), WAIT_S))
            one = next(results)
            assert (one.ref.source_id, one.ref.part, len(one.refs)) == ("cap-opcua", "plc-1", 2)
            while pipeline.line.summary()[0].captured == 2:  # until the client listens, messages go nowhere
                publish.single(
                    "clearline/trigger/cap-mqtt", b"lot-1", qos=1, port=broker.port, protocol=MQTTProtocolVersion.MQTTv5
                )
                pipeline.line.wait(0.2)
            one = next(results)
            assert (one.ref.source_id, one.ref.part, len(one.refs)) == ("cap-mqtt", "lot-1", 2)
    assert pipeline.line.summary()[0].error == 0
