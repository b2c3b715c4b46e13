"""How Kafka is reached, and why it is not, without a broker."""

from __future__ import annotations

import importlib.util
import logging
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, errors

from pipeline.errors import ConfigError
from tests.servers.kafka import KafkaBroker
from tests.servers.mock_kafka import MockCluster
from tests.servers.ports import free_port
from tests.servers.silent import SilentServer
from workers.kafka.connection import KafkaConnection, quiet_client_logs
from workers.kafka.diagnose import why
from workers.kafka.wire import split_address

SECRET = "hunter2-do-not-show"
LOST = errors.KafkaTimeoutError("Unable to bootstrap from somewhere")


def at(port: int, **settings: object) -> KafkaConnection:
    return replace(KafkaConnection(bootstrap=(f"127.0.0.1:{port}",), api_timeout_s=0.3), **settings)  # type: ignore[arg-type]


def with_password(connection: KafkaConnection) -> KafkaConnection:
    return replace(connection, protocol="sasl_tls", username="u", password=lambda: SECRET, key_password=lambda: SECRET)


def test_no_repr_shows_a_secret() -> None:
    connection = with_password(at(9092))
    assert SECRET not in repr(connection)
    assert SECRET not in repr(connection.kwargs())
    assert connection.kwargs()["sasl_plain_password"] == SECRET


def test_the_settings_are_those_that_every_client_knows() -> None:
    settings = with_password(at(9092)).kwargs()
    assert settings.keys() <= KafkaAdminClient.DEFAULT_CONFIG.keys()
    assert (settings["security_protocol"], settings["request_timeout_ms"]) == ("SASL_SSL", 30_000)


def test_without_crc32c_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"crc32c.*pip install"):
        at(9092).kwargs()


def test_a_password_that_cannot_be_read_now_is_an_error_of_the_client_and_says_so() -> None:
    def gone() -> str:
        raise ValueError("must name a readable file, got /run/secrets/kafka: No such file or directory")

    connection = at(9092, protocol="sasl_plaintext", username="u", password=gone)
    with pytest.raises(errors.KafkaConnectionError) as caught:
        connection.kwargs()
    assert why(connection, caught.value).startswith("kafka.security.password: expected a secret that can be read")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    connection = at(9092, protocol="tls", ca_file=path)
    with pytest.raises(errors.KafkaConnectionError) as caught:
        connection.kwargs()
    assert f"kafka.security.ca_file: expected a {'readable ' if content is None else ''}PEM file, got {path}" in why(
        connection, caught.value
    )


def test_a_key_that_needs_a_password_never_asks_the_terminal(tmp_path: Path) -> None:
    pair = tmp_path / "pair.pem"
    key = ["-newkey", "rsa:2048", "-passout", f"pass:{SECRET}", "-keyout", str(tmp_path / "key.pem")]
    command = ["openssl", "req", "-x509", *key, "-out", str(pair), "-subj", "/CN=x", "-days", "1"]
    subprocess.run(command, check=True, capture_output=True)
    connection = at(9092, protocol="tls", certificate_file=pair, key_file=tmp_path / "key.pem")
    with pytest.raises(errors.KafkaConnectionError, match="another key password"):
        connection.kwargs()
    replace(connection, key_password=lambda: SECRET).kwargs()


def test_a_refused_port_is_named() -> None:
    port = free_port()
    said = why(at(port), LOST)
    assert said == (
        f"127.0.0.1:{port}: expected a broker on port {port}, got a refusal; start the broker, or correct host and port"
    )


def test_a_name_nobody_knows_is_named() -> None:
    said = why(KafkaConnection(bootstrap=("kafka.nowhere.invalid:9092",)), LOST)
    assert "got the unknown name kafka.nowhere.invalid" in said


def test_each_broker_that_is_away_has_its_own_cause() -> None:
    port = free_port()
    said = why(KafkaConnection(bootstrap=("kafka.nowhere.invalid:9092", f"127.0.0.1:{port}")), LOST)
    assert "the unknown name" in said
    assert f"127.0.0.1:{port}: expected a broker" in said


@pytest.mark.parametrize("protocol", ["plaintext", "tls"])
def test_a_port_that_says_nothing_is_named(protocol: str) -> None:
    with SilentServer() as silent:
        said = why(at(silent.port, protocol=protocol), LOST)
    assert "within 2 s, got" in said


def test_a_tls_handshake_that_nobody_answers_ends() -> None:
    """kafka-python 3.0 alone waits for ever here."""
    with SilentServer() as silent, pytest.raises(errors.KafkaTimeoutError):
        KafkaAdminClient(**at(silent.port, protocol="tls").kwargs())


def test_a_port_of_another_protocol_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(3):
                taken, _ = listener.accept()
                taken.sendall(b"220 mail.example ESMTP\r\n")
                taken.close()

        threading.Thread(target=greet, daemon=True).start()
        said = why(at(listener.getsockname()[1]), LOST)
    assert "expected a Kafka broker, got something that does not speak its protocol" in said


def test_a_broker_that_answers_again_is_said_to(mock_cluster: MockCluster) -> None:
    said = why(KafkaConnection(bootstrap=(mock_cluster.bootstrap,)), LOST)
    assert "now it answers and lets us in; try again" in said


def test_a_topic_that_is_missing_names_the_command(kafka_broker: KafkaBroker) -> None:
    connection = KafkaConnection(bootstrap=(kafka_broker.bootstrap,))
    waited = errors.KafkaTimeoutError("Failed to update metadata after 3.0 secs.")
    said = why(connection, waited, topics=["no.such.topic"])
    assert "got no such topic (no.such.topic); make it with `clearline kafka init --config LINE.yaml`" in said


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.TopicAuthorizationFailedError("t"), "an anonymous user to have the rights on the topic"),
        (errors.GroupAuthorizationFailedError("g"), "rights on the consumer group, got a refusal (g)"),
        (errors.ClusterAuthorizationFailedError(), "add Create on the cluster"),
        (errors.UnknownTopicOrPartitionError("t"), "make it with `clearline kafka init"),
        (errors.MessageSizeTooLargeError(None), "got a larger one; raise kafka.message_max_mb"),
        (errors.IncompatibleBrokerVersion("old"), "a broker of Kafka 2.1 or later"),
        (errors.InvalidReplicationFactorError("3"), "lower --replication"),
    ],
)
def test_an_error_that_says_its_cause_costs_no_connection(error: Exception, expected: str) -> None:
    assert expected in why(KafkaConnection(bootstrap=("kafka.nowhere.invalid:9092",)), error)


def test_the_cause_behind_another_error_is_found() -> None:
    outer = RuntimeError("gave up")
    outer.__cause__ = errors.UnknownTopicOrPartitionError("t")
    assert "no such topic (t)" in why(at(9092), outer)


def test_words_of_the_client_that_hold_a_secret_are_not_repeated() -> None:
    said = why(with_password(at(9092)), errors.TopicAuthorizationFailedError(f"user u, password {SECRET}"))
    assert SECRET not in said
    assert "not shown" in said


def test_the_client_is_quiet_unless_somebody_set_its_level() -> None:
    logger = logging.getLogger("kafka")
    before = logger.level
    try:
        logger.setLevel(logging.NOTSET)
        quiet_client_logs()
        assert not logging.getLogger("kafka.net.manager").isEnabledFor(logging.ERROR)
        logger.setLevel(logging.DEBUG)
        quiet_client_logs()
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a:1", ("a", 1)), ("a", ("a", 9092)), ("[::1]:9093", ("::1", 9093)), ("[::1]", ("::1", 9092))],
)
def test_an_address_has_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["", ":1", "a:b", "a:0", "kafka://a:1", "user@a:1", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        split_address(text)
