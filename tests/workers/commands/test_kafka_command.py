"""`clearline kafka` against a real broker."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from typer.testing import CliRunner, Result

from pipeline.errors import ConfigError, SourceUnavailable
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port
from workers.commands.kafka import app

LINE = """\
version: 1
cameras: [{{id: cap-01, source: {{type: kafka, group: {group}}}}}]
head: {{texts: t.yaml}}
decision: {{good_classes: [ok]}}
kafka: {{bootstrap: "{bootstrap}", topics_prefix: {prefix}}}
"""


@pytest.fixture
def prefix() -> str:
    return f"line-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def config(kafka_broker: KafkaBroker, prefix: str, tmp_path: Path) -> str:
    path = tmp_path / "line.yaml"
    path.write_text(LINE.format(bootstrap=kafka_broker.bootstrap, prefix=prefix, group=prefix))
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def parsed(*words: str) -> dict[str, Any]:
    done = run(*words, "--json")
    return dict(json.loads(done.stdout))


def test_init_makes_the_topics_and_says_the_second_time_that_they_were_there(config: str, prefix: str) -> None:
    first = run("init", "--config", config, "--partitions", "2")
    assert first.exit_code == 0, first.output
    assert f"{prefix}.frames.v1" in first.stdout
    assert first.stdout.count("created") == 8
    second = run("init", "--config", config, "--partitions", "3")
    assert second.stdout.count("was there") == 8
    assert second.stdout.count("differs in partitions: expected 3, got 2") == 2


def test_init_reports_as_json(config: str, prefix: str) -> None:
    topics = parsed("init", "--config", config, "--replication", "1")["topics"]
    assert topics[0] == {"name": f"{prefix}.frames.v1", "outcome": "created", "differences": []}


def test_check_tells_how_far_the_group_is_behind(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    run("init", "--config", config, "--partitions", "1")
    topic = f"{prefix}.frames.v1"
    producer = KafkaProducer(**kafka_broker.connection())
    for _ in range(5):
        producer.send(topic, value=b"x").get(timeout=30.0)
    producer.close()
    frames = parsed("check", "--config", config)["topics"][0]
    assert (frames["messages"], frames["lags"]) == (5, {prefix: 5})
    consumer = KafkaConsumer(**kafka_broker.connection(), group_id=prefix, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(3, "", -1)})
    consumer.close()
    done = run("check", "--config", config)
    assert done.exit_code == 0, done.output
    assert f"1 partitions, 1 replicas, 5 messages, group {prefix} is 2 behind" in done.stdout


def test_check_ends_with_2_where_a_topic_is_missing_and_names_the_next_step(config: str) -> None:
    done = run("check", "--config", config)
    assert done.exit_code == ConfigError.exit_code
    assert done.stdout.count("missing") == 8
    assert f"next: clearline kafka init --config {config}" in done.stdout


def test_a_broker_that_is_away_is_one_line_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, port = tmp_path / "line.yaml", free_port()
    path.write_text(LINE.format(bootstrap=f"127.0.0.1:{port}", prefix="p", group="g"))
    done = run("check", "--config", str(path))
    assert isinstance(done.exception, SourceUnavailable)
    assert str(done.exception).startswith(f"kafka: 127.0.0.1:{port}: expected a broker on port {port}, got a refusal")
    assert done.output == ""


def test_a_file_without_the_section_says_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_text(
        "version: 1\ncameras: [{id: a, source: {type: simulate}}]\nhead: {}\ndecision: {good_classes: [ok]}\n"
    )
    done = run("check", "--config", str(path))
    assert isinstance(done.exception, ConfigError)
    assert "expected a section kafka with bootstrap, got none" in str(done.exception)
