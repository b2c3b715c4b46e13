"""The Kafka of the tests, real and in-memory, does what its users rely on."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from tests.conftest import need
from tests.servers.kafka import CACHE, SCRIPT, KafkaBroker
from tests.servers.mock_kafka import API_VERSION, PRODUCE, TOPIC_AUTHORIZATION_FAILED, MockCluster
from workers.kafka.consumer import JOIN_POLL_MS

WAIT_S = 30.0
SOON_MISSED: dict[str, Any] = {"session_timeout_ms": 1000, "heartbeat_interval_ms": 300}
FROM_THE_START: dict[str, Any] = {"auto_offset_reset": "earliest", "enable_auto_commit": False}


def take(consumer: KafkaConsumer, n: int) -> list[ConsumerRecord]:
    """The next n records; fewer where they do not come."""
    taken: list[ConsumerRecord] = []
    deadline = time.monotonic() + WAIT_S
    while len(taken) < n and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=JOIN_POLL_MS, max_records=n - len(taken)).values():
            taken += records
    return taken


def read(connection: dict[str, Any], topic: str, n: int, **settings: Any) -> list[ConsumerRecord]:
    """The first n records of a topic, read by nobody's group."""
    consumer = KafkaConsumer(topic, **connection, **FROM_THE_START, **settings)
    try:
        return take(consumer, n)
    finally:
        consumer.close()


def send(connection: dict[str, Any], topic: str, values: list[bytes], **settings: Any) -> None:
    """Each value, delivered when this returns."""
    producer = KafkaProducer(**connection, **settings)
    try:
        for sent in [producer.send(topic, value=value) for value in values]:
            sent.get(timeout=WAIT_S)
    finally:
        producer.close(timeout=5.0)


def test_a_record_comes_back_with_its_key_and_headers_when_compressed(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic()
    producer = KafkaProducer(**kafka_broker.connection(), enable_idempotence=True, compression_type="lz4")
    headers = [("ce_id", b"cap-07-1-2-full"), ("ce_type", b"result")]
    producer.send(topic, key=b"cap-07", value=b"x" * 30_000, headers=headers).get(timeout=WAIT_S)
    producer.close()
    (record,) = read(kafka_broker.connection(), topic, 1)
    assert (record.key, record.value, list(record.headers)) == (b"cap-07", b"x" * 30_000, headers)


def test_committed_offsets_survive_kill_9_and_a_restart(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic()
    send(kafka_broker.connection(), topic, [b"0", b"1", b"2"])
    settings = {**kafka_broker.connection(), **FROM_THE_START, **SOON_MISSED, "group_id": topic}
    consumer = KafkaConsumer(topic, **settings)
    assert [record.value for record in take(consumer, 2)] == [b"0", b"1"]
    consumer.commit()
    kafka_broker.kill()
    consumer.close(timeout_ms=0)
    kafka_broker.start()
    again = KafkaConsumer(topic, **settings)
    assert [record.value for record in take(again, 1)] == [b"2"]
    assert again.committed(TopicPartition(topic, 0)) == 2
    again.close()


def test_an_aborted_record_is_hidden_from_readers_of_committed_ones(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic()
    producer = KafkaProducer(**kafka_broker.connection(), transactional_id=topic)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, value=b"aborted")
    producer.flush()
    producer.abort_transaction()
    producer.begin_transaction()
    producer.send(topic, value=b"committed")
    producer.commit_transaction()
    producer.close()
    connection = kafka_broker.connection()
    (first,) = read(connection, topic, 1, isolation_level="read_committed")
    every = read(connection, topic, 2, isolation_level="read_uncommitted")
    assert first.value == b"committed"
    assert [record.value for record in every] == [b"aborted", b"committed"]


def test_a_stopped_broker_leaves_no_ready_file_and_comes_back_with_its_data(kafka_broker: KafkaBroker) -> None:
    topic = kafka_broker.new_topic()
    send(kafka_broker.connection(), topic, [b"kept"])
    kafka_broker.stop()
    assert not (kafka_broker.data / "ready.json").exists()
    assert list(CACHE.glob("kafka-*.jsa"))  # what makes the next start quicker
    kafka_broker.start()
    assert [record.value for record in read(kafka_broker.connection(), topic, 1)] == [b"kept"]


def test_what_kcat_sends_is_read(kafka_broker: KafkaBroker) -> None:
    need(shutil.which("kcat") is not None, what="a second Kafka client", how="apt-get install kcat")
    topic = kafka_broker.new_topic()
    command = ["kcat", "-P", "-b", kafka_broker.bootstrap, "-t", topic, "-k", "cap-07", "-H", "ce_id=7", "-z", "lz4"]
    subprocess.run(command, input=b"from kcat", check=True, timeout=WAIT_S)
    (record,) = read(kafka_broker.connection(), topic, 1)
    assert (record.key, record.value, list(record.headers)) == (b"cap-07", b"from kcat", [("ce_id", b"7")])


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
def test_the_right_password_over_tls_is_let_in(secure_kafka_broker: KafkaBroker, mechanism: str) -> None:
    topic = secure_kafka_broker.new_topic("granted")
    secure_kafka_broker.grant("clearline", prefix="granted")
    connection = secure_kafka_broker.connection(user="clearline", mechanism=mechanism)
    send(connection, topic, [b"secret"])
    assert [record.value for record in read(connection, topic, 1, group_id=topic)] == [b"secret"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_a_wrong_password_is_refused(secure_kafka_broker: KafkaBroker, mechanism: str) -> None:
    connection = secure_kafka_broker.connection(user="clearline", mechanism=mechanism)
    with pytest.raises(KafkaTimeoutError, match="bootstrap"):
        KafkaProducer(**connection | {"sasl_plain_password": "wrong"}, bootstrap_timeout_ms=2000)


def test_a_user_without_the_right_is_told_so(secure_kafka_broker: KafkaBroker) -> None:
    topic = secure_kafka_broker.new_topic("private")
    with pytest.raises(TopicAuthorizationFailedError):
        send(secure_kafka_broker.connection(user="stranger"), topic, [b"no"], max_block_ms=5000)


def test_a_client_certificate_logs_in_as_its_name(secure_kafka_broker: KafkaBroker) -> None:
    topic = secure_kafka_broker.new_topic("granted")
    secure_kafka_broker.grant("clearline", prefix="granted")
    certificate, key = secure_kafka_broker.client_certificate
    connection = {
        "bootstrap_servers": secure_kafka_broker.tls_bootstrap,
        "security_protocol": "SSL",
        "ssl_cafile": str(secure_kafka_broker.ca),
    }
    send({**connection, "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}, topic, [b"by certificate"])
    with pytest.raises(TopicAuthorizationFailedError):
        send(connection, topic, [b"by nobody"], max_block_ms=5000)


def test_the_script_names_the_packages_where_java_is_absent(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--data", str(tmp_path / "data"), "--secure"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "apt-get install default-jre-headless openssl" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_script_says_that_its_port_is_taken(tmp_path: Path) -> None:
    need(shutil.which("java") is not None, what="java", how="apt-get install default-jre-headless")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, str(SCRIPT), "--port", port, "--data", str(tmp_path), "--jars", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port"


def mock_connection(cluster: MockCluster) -> dict[str, Any]:
    return {"bootstrap_servers": cluster.bootstrap, "api_version": API_VERSION}


def test_the_mock_cluster_is_gone_while_its_broker_is_down_and_comes_back_with_its_records(
    mock_cluster: MockCluster,
) -> None:
    mock_cluster.create_topic("t")
    waits: dict[str, Any] = {"enable_idempotence": False, "request_timeout_ms": 300, "delivery_timeout_ms": 500}
    producer = KafkaProducer(**mock_connection(mock_cluster), **waits)
    producer.send("t", value=b"before").get(timeout=WAIT_S)
    mock_cluster.broker_down()
    with pytest.raises(KafkaError):
        producer.send("t", value=b"meanwhile").get(timeout=WAIT_S)
    mock_cluster.broker_up()
    producer.close(timeout=1.0)
    send(mock_connection(mock_cluster), "t", [b"after"])
    assert [record.value for record in read(mock_connection(mock_cluster), "t", 2)] == [b"before", b"after"]


def test_the_mock_cluster_answers_with_the_errors_that_were_pushed(mock_cluster: MockCluster) -> None:
    mock_cluster.create_topic("t")
    mock_cluster.push_request_errors(PRODUCE, [TOPIC_AUTHORIZATION_FAILED])
    producer = KafkaProducer(**mock_connection(mock_cluster), enable_idempotence=False)
    with pytest.raises(TopicAuthorizationFailedError):
        producer.send("t", value=b"0").get(timeout=WAIT_S)
    assert producer.send("t", value=b"1").get(timeout=WAIT_S).offset == 0
    producer.close()


@pytest.mark.parametrize("mock_cluster", [3], indirect=True)
def test_the_mock_cluster_can_be_slower_than_a_client_waits(mock_cluster: MockCluster) -> None:
    mock_cluster.create_topic("t", n_partitions=3)
    waits: dict[str, Any] = {"enable_idempotence": False, "retries": 0, "request_timeout_ms": 300}
    producer = KafkaProducer(**mock_connection(mock_cluster), **waits)
    producer.send("t", value=b"in time").get(timeout=WAIT_S)
    mock_cluster.set_rtt(2000)
    with pytest.raises(KafkaError):
        producer.send("t", value=b"late").get(timeout=WAIT_S)
    producer.close(timeout=1.0)
