"""Triggers from the topics of an MQTT broker, one per camera; the payload is the part id, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from workers.mqtt.connection import MqttConnection
from workers.triggers.queue import Fire, TriggerRefused

log = structlog.get_logger()

QOS = 1
RETRY_S = (1, 30)  # first and longest wait before a broker that is away is tried again, whole seconds


class MqttTriggers:
    """The client's own thread listens and connects again; what is published while we are away is gone.

    Retained messages are ignored: they are about a part of another day.
    """

    def __init__(self, connection: MqttConnection, *, cameras: Mapping[str, str], fire: Fire) -> None:
        """`cameras` by topic. Nothing is connected yet; raises ConfigError where paho-mqtt is missing, SinkError for
        files that cannot be read."""
        self._shown, self._address = connection.shown, (connection.host, connection.port)
        self._cameras = cameras
        self._fire = fire
        self._client = connection.client(reconnects=True)
        self._client.reconnect_delay_set(*RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect in the background, now and whenever the broker is back."""
        self._client.connect_async(*self._address)
        self._client.loop_start()

    def close(self) -> None:
        """Listen no more; may be called twice."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("trigger broker refuses us", broker=self._shown, cause=str(code))
            return
        client.subscribe([(topic, QOS) for topic in self._cameras])
        log.info("waiting for triggers", broker=self._shown, topics=list(self._cameras))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("trigger broker lost, parts are not announced", broker=self._shown, cause=str(code))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        camera = self._cameras.get(message.topic)
        if camera is None or message.retain:
            return
        try:
            self._fire(camera, message.payload.decode() or None)
        except (TriggerRefused, UnicodeDecodeError) as error:
            log.warning("trigger refused", camera=camera, cause=str(error))
