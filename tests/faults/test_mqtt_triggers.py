"""Triggers through a real MQTT broker: from whoever publishes, also after the broker was away."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from tests.servers.mosquitto import Mosquitto
from workers.mqtt.connection import MqttConnection
from workers.triggers.mqtt import MqttTriggers
from workers.triggers.queue import TriggerRefused

TOPIC = "plant/trigger/cap-01"
WAIT_S = 20.0
Fired = queue.Queue[tuple[str, str | None]]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def fired() -> Fired:
    return queue.Queue()


@pytest.fixture
def triggers(broker: Mosquitto, fired: Fired) -> Iterator[MqttTriggers]:
    def fire(camera: str, part: str | None) -> str:
        fired.put((camera, part))
        if part == "too much":
            raise TriggerRefused("full", reason="overflow")
        return part or "made"

    made = MqttTriggers(MqttConnection("127.0.0.1", broker.port), cameras={TOPIC: "cap-01"}, fire=fire)
    made.start()
    yield made
    made.close()
    made.close()


def send(broker: Mosquitto, payload: bytes, *, retain: bool = False) -> None:
    publish.single(TOPIC, payload, qos=1, retain=retain, port=broker.port, protocol=MQTTProtocolVersion.MQTTv5)


def heard(broker: Mosquitto, fired: Fired) -> None:
    """Returns when the triggers are listening: until then what is published goes nowhere."""
    for _ in range(int(WAIT_S / 0.2)):
        send(broker, b"hello")
        try:
            fired.get(timeout=0.2)
        except queue.Empty:
            continue
        return
    raise AssertionError("nobody listens")


def told(fired: Fired) -> str | None:
    """The next part that was announced, of those that mean something."""
    while True:
        camera, part = fired.get(timeout=WAIT_S)
        assert camera == "cap-01"
        if part != "hello":
            return part


def test_a_message_announces_a_part_by_its_id_or_without(
    triggers: MqttTriggers, broker: Mosquitto, fired: Fired
) -> None:
    heard(broker, fired)
    for payload in (b"lot7-0001", b"", b"\xff\xfe", b"too much", b"lot7-0002"):
        send(broker, payload)
    assert [told(fired) for _ in range(4)] == ["lot7-0001", None, "too much", "lot7-0002"]


def test_a_retained_message_is_about_a_part_of_another_day(broker: Mosquitto, fired: Fired) -> None:
    send(broker, b"yesterday", retain=True)
    made = MqttTriggers(
        MqttConnection("127.0.0.1", broker.port),
        cameras={TOPIC: "cap-01"},
        fire=lambda camera, part: fired.put((camera, part)) or "",
    )
    made.start()
    heard(broker, fired)
    send(broker, b"now")
    assert told(fired) == "now"
    made.close()


def test_a_broker_that_was_away_is_found_again(triggers: MqttTriggers, broker: Mosquitto, fired: Fired) -> None:
    heard(broker, fired)
    broker.kill()
    broker.start()
    heard(broker, fired)
    send(broker, b"after")
    assert told(fired) == "after"
