"""How the broker of a sink or a trigger is reached."""

from __future__ import annotations

from functools import partial

from workers.config.loading import read_secret
from workers.config.sinks import MqttSinkConfig
from workers.mqtt.connection import MqttConnection, Tls


def mqtt_connection(given: MqttSinkConfig) -> MqttConnection:
    """As plain values; the secrets are functions, which read their files anew."""
    tls = given.tls
    return MqttConnection(
        host=given.host,
        port=given.port,
        client_id=given.client_id,
        username=given.username or "",
        password=None if given.password_file is None else partial(read_secret, given.password_file),
        tls=None
        if tls is None
        else Tls(
            ca_file=tls.ca_file,
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
            key_password=None if tls.key_password_file is None else partial(read_secret, tls.key_password_file),
            check_hostname=tls.check_hostname,
        ),
        timeout_s=given.timeout_ms / 1e3,
        status_topic=f"{given.prefix}/status",
    )
