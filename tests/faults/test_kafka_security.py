"""A real broker with TLS, passwords and rights: who may, comes in; who may not, is told why, without a secret."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from pipeline.errors import ConfigError
from tests.kafka_faults import Load
from tests.kafka_lines import LineOptions, line_of, topic_sink, topic_source
from tests.servers.kafka import KafkaBroker
from workers.clock import SystemClock
from workers.kafka.connection import KafkaConnection, Mechanism
from workers.kafka.diagnose import why
from workers.kafka.topics import require_topics

RIGHT, WRONG = "line-secret", "hunter2-do-not-show"  # RIGHT is what the fixture gives to the user clearline
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that the client and structlog write, the client at DEBUG, and no password in it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logger = logging.getLogger("kafka")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(text))
    yield text
    structlog.reset_defaults()
    logger.removeHandler(handler)
    logger.setLevel(before)
    assert RIGHT not in text.getvalue()
    assert WRONG not in text.getvalue()


@pytest.fixture
def connection(secure_kafka_broker: KafkaBroker, logged: io.StringIO) -> KafkaConnection:
    return KafkaConnection(
        bootstrap=(secure_kafka_broker.bootstrap,),
        protocol="sasl_tls",
        username="clearline",
        password=lambda: RIGHT,
        ca_file=secure_kafka_broker.ca,
        api_timeout_s=0.5,
    )


def cause(connection: KafkaConnection) -> str:
    """Why it is not let in; one line without a secret."""
    with pytest.raises(KafkaError) as caught:
        KafkaAdminClient(**connection.kwargs())
    text = why(connection, caught.value)
    assert "\n" not in text
    assert "expected" in text
    assert "got" in text
    assert RIGHT not in text
    assert WRONG not in text
    assert WRONG not in repr(connection)
    return text


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("client", [KafkaAdminClient, KafkaProducer, KafkaConsumer])
def test_the_right_password_lets_every_client_in_and_is_not_logged(
    connection: KafkaConnection, logged: io.StringIO, mechanism: Mechanism, client: type[KafkaAdminClient]
) -> None:
    patient = replace(connection, mechanism=mechanism, api_timeout_s=20.0)
    client(**patient.kwargs()).close()
    assert "Authenticated as clearline" in logged.getvalue()  # its log was at DEBUG indeed


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_named(connection: KafkaConnection, mechanism: Mechanism) -> None:
    said = cause(replace(connection, mechanism=mechanism, password=lambda: WRONG))
    assert f"expected user 'clearline' to be let in with {mechanism}, got a refusal" in said
    assert "check kafka.security.username and the password" in said


def test_an_unknown_user_is_named(connection: KafkaConnection) -> None:
    assert "expected user 'nobody' to be let in" in cause(replace(connection, username="nobody"))


def test_a_wrong_authority_is_named(connection: KafkaConnection, secure_kafka_broker: KafkaBroker) -> None:
    other = secure_kafka_broker.client_certificate[0]
    said = cause(replace(connection, ca_file=other))
    assert f"expected a certificate signed by {other}, got one from a signer unknown here" in said
    assert "set kafka.security.ca_file" in said


def test_a_certificate_for_another_host_is_named_with_the_hosts_it_is_good_for(
    connection: KafkaConnection, secure_kafka_broker: KafkaBroker
) -> None:
    elsewhere = replace(connection, bootstrap=(f"127.1:{secure_kafka_broker.port}",))  # the same, by another name
    assert "expected a certificate for 127.1, got one for localhost, 127.0.0.1" in cause(elsewhere)


def test_a_host_name_that_is_not_to_be_checked_is_not(
    connection: KafkaConnection, secure_kafka_broker: KafkaBroker
) -> None:
    unchecked = replace(connection, bootstrap=(f"127.1:{secure_kafka_broker.port}",), check_hostname=False)
    KafkaAdminClient(**replace(unchecked, api_timeout_s=20.0).kwargs()).close()


@pytest.mark.parametrize(("ours", "right"), [("plaintext", "tls"), ("sasl_plaintext", "sasl_tls")])
def test_plain_text_to_a_tls_port_is_named(connection: KafkaConnection, ours: str, right: str) -> None:
    said = cause(replace(connection, protocol=ours))
    assert f"got a broker that speaks TLS on this port; set kafka.security.protocol to {right}" in said


def test_no_password_on_a_port_that_asks_for_one_is_named(connection: KafkaConnection) -> None:
    said = cause(replace(connection, protocol="tls"))
    assert "expected a port that asks for no password, got one that does (PLAIN, SCRAM-SHA-256" in said


def test_a_password_on_a_port_that_asks_for_none_is_named(
    connection: KafkaConnection, secure_kafka_broker: KafkaBroker
) -> None:
    said = cause(replace(connection, bootstrap=(secure_kafka_broker.tls_bootstrap,)))
    assert "expected a port that asks for a password, got one that asks for none" in said


@pytest.mark.parametrize(("ours", "right"), [("tls", "plaintext"), ("sasl_tls", "sasl_plaintext")])
def test_tls_to_a_plain_port_is_named(
    connection: KafkaConnection, kafka_broker: KafkaBroker, ours: str, right: str
) -> None:
    said = cause(replace(connection, protocol=ours, bootstrap=(kafka_broker.bootstrap,)))
    assert f"got a broker that speaks plain text on this port; set kafka.security.protocol to {right}" in said


def test_a_client_certificate_lets_in(connection: KafkaConnection, secure_kafka_broker: KafkaBroker) -> None:
    certificate, key = secure_kafka_broker.client_certificate
    by_certificate = replace(
        connection,
        protocol="tls",
        bootstrap=(secure_kafka_broker.tls_bootstrap,),
        certificate_file=certificate,
        key_file=key,
        api_timeout_s=20.0,
    )
    KafkaAdminClient(**by_certificate.kwargs()).close()


def test_a_missing_right_on_a_topic_is_named_with_the_user(
    connection: KafkaConnection, secure_kafka_broker: KafkaBroker
) -> None:
    topic = secure_kafka_broker.new_topic("private")
    patient = replace(connection, api_timeout_s=20.0)
    producer = KafkaProducer(**patient.kwargs(), max_block_ms=5000)
    with pytest.raises(KafkaError) as caught:
        producer.send(topic, value=b"no").get(timeout=10.0)
    producer.close(timeout=1.0)
    said = why(patient, caught.value)
    assert f"expected user 'clearline' to have the rights on the topic, got a refusal ({topic})" in said
    with pytest.raises(ConfigError, match=f"'clearline' to have the rights on {topic}, got a refusal"):
        require_topics(patient, [topic])


def test_a_missing_right_on_a_group_is_named(connection: KafkaConnection, secure_kafka_broker: KafkaBroker) -> None:
    patient = replace(connection, api_timeout_s=20.0)
    consumer = KafkaConsumer("private.topic", **patient.kwargs(), group_id="private.group")
    with pytest.raises(KafkaError) as caught:
        consumer.poll(timeout_ms=5000)
    consumer.close()
    assert "the rights on the consumer group, got a refusal (private.group)" in why(patient, caught.value)


def test_a_line_that_is_not_let_in_waits_and_works_once_its_password_is_right(
    connection: KafkaConnection, secure_kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    secure_kafka_broker.grant("clearline", prefix="line.")
    names = {name: secure_kafka_broker.new_topic(f"line.{name}") for name in ("frames", "results", "states", "dlq")}
    password, clock = tmp_path / "password", SystemClock()
    password.write_text(WRONG)
    options = LineOptions("", *names.values(), group=names["frames"], max_message_bytes=1_000_000)
    source = topic_source(options, clock=clock)
    source._connection = replace(connection, password=password.read_text, api_timeout_s=2.0)
    sink = topic_sink(options, source=None, clock=clock, connection=source._connection)
    line = line_of(source, sinks=[sink], options=options, clock=clock)
    line.start()
    until(lambda: line.status()["sources"]["frames"]["reconnects"] >= 2, what="second attempt")
    said = line.status()["sources"]["frames"]
    assert "expected user 'clearline' to be let in with SCRAM-SHA-512, got a refusal" in said["last_error"]
    assert line.unready() == ["no source is streaming"]
    assert not line.unhealthy()
    producer = KafkaProducer(**replace(connection, api_timeout_s=20.0).kwargs())
    for _, value, _ in Load(n_frames=3, seed=0).messages:
        producer.send(names["frames"], key=b"cap-07", value=value + bytes(300_000)).get(timeout=20.0)
    producer.close()
    password.write_text(RIGHT)
    until(lambda: line.ledger.total().delivered == 3, what="result")
    line.stop(timeout_s=20.0)


def until(holds: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline, f"no {what} within a minute"
        time.sleep(0.05)


def test_a_password_that_was_changed_is_read_anew(connection: KafkaConnection, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(WRONG)
    reading = replace(connection, password=file.read_text)
    cause(reading)
    file.write_text(RIGHT)
    KafkaAdminClient(**replace(reading, api_timeout_s=20.0).kwargs()).close()
