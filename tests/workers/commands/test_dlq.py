"""`clearline dlq` against a real broker, and on the file of a line without one."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from typer.testing import CliRunner, Result

from pipeline.errors import ConfigError, DataError, SourceUnavailable
from tests.servers.kafka import KafkaBroker
from workers.commands.dlq import app
from workers.kafka.connection import KafkaConnection
from workers.kafka.topics import create_topics, topic_specs

LINE = """\
version: 1
cameras: [{{id: cap-01, source: {{type: simulate}}}}]
head: {{texts: t.yaml}}
decision: {{good_classes: [ok]}}
kafka: {{bootstrap: "{bootstrap}", topics_prefix: {prefix}}}
"""
BYTES = b"\xff\xd8 no picture \x00"


@pytest.fixture
def prefix(kafka_broker: KafkaBroker) -> str:
    """Of topics that are there and empty."""
    name = f"line-{uuid.uuid4().hex[:8]}"
    create_topics(KafkaConnection(bootstrap=(kafka_broker.bootstrap,)), topic_specs(prefix=name, partitions=1))
    return name


@pytest.fixture
def config(kafka_broker: KafkaBroker, prefix: str, tmp_path: Path) -> str:
    path = tmp_path / "line.yaml"
    path.write_text(LINE.format(bootstrap=kafka_broker.bootstrap, prefix=prefix))
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def parsed(*words: str) -> dict[str, Any]:
    return dict(json.loads(run(*words, "--json").stdout))


def bury(broker: KafkaBroker, prefix: str, *, topic: str | None = "frames", **told: str) -> str:
    """A letter as the sink writes it, with two headers of its own; its id."""
    headers = {"dlq_reason": "undecodable", "dlq_message": "no JPEG", "dlq_source": "cap-07", **told}
    headers |= {"dlq_event_id": "cap-07-1-2-full", "dlq_time": "2026-01-31T08:15:14.870Z", "dlq_worker": "w1"}
    if topic is not None:
        headers |= {"dlq_original_topic": f"{prefix}.{topic}.v1"}
        headers |= {
            "dlq_original_partition": "0",
            "dlq_original_offset": "41",
            "dlq_original_timestamp": "1700000000000",
        }
    own = [("camera", b"cap-07"), ("sequence", b"2")]
    producer = KafkaProducer(**broker.connection())
    all_headers = own + [(name, value.encode()) for name, value in headers.items()]
    sent = producer.send(f"{prefix}.dlq.v1", key=b"cap-07", value=BYTES, headers=all_headers).get(timeout=30.0)
    producer.close()
    return f"{sent.partition}:{sent.offset}"


def frames(broker: KafkaBroker, prefix: str) -> list[Any]:
    """All that is on the topic of frames."""
    settings: dict[str, Any] = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 1500}
    consumer = KafkaConsumer(f"{prefix}.frames.v1", **broker.connection(), **settings)
    try:
        return list(consumer)
    finally:
        consumer.close()


def test_list_tells_of_each_letter_in_one_line(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    letter_id = bury(kafka_broker, prefix)
    bury(kafka_broker, prefix, topic=None, dlq_reason="too_large")
    done = run("list", "--config", config)
    assert done.exit_code == 0, done.output
    first, second, last = done.stdout.splitlines()
    assert first.split() == [
        *(letter_id, "2026-01-31T08:15:14.870Z", "undecodable", "cap-07"),
        *(f"{prefix}.frames.v1/0/41", str(len(BYTES)), "bytes:", "no", "JPEG"),
    ]
    assert "too_large" in second
    assert "no topic" in second
    assert last == "2 letters"


def test_list_filters_by_reason_and_shows_the_newest(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    ids = [bury(kafka_broker, prefix, dlq_reason=reason) for reason in ("empty", "headers", "empty", "empty")]
    found = parsed("list", "--config", config, "--reason", "empty", "--limit", "2")
    assert found["n_letters"] == 3
    assert [letter["id"] for letter in found["letters"]] == [ids[2], ids[3]]


def test_show_gives_headers_and_the_original_bytes(
    config: str, prefix: str, kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    bury(kafka_broker, prefix, dlq_reason="headers")
    letter_id = bury(kafka_broker, prefix)
    done = run("show", letter_id, "--config", config, "--out", str(tmp_path / "new" / "letter.bin"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "letter.bin").read_bytes() == BYTES
    assert "dlq_worker" in done.stdout
    assert base64.b64decode(parsed("show", letter_id, "--config", config)["original_base64"]) == BYTES


@pytest.mark.parametrize("letter_id", ["0:999", "7:0", "nonsense"])
def test_an_id_that_is_not_there_is_an_error_of_its_class(config: str, letter_id: str) -> None:
    done = run("show", letter_id, "--config", config)
    assert isinstance(done.exception, DataError)
    assert "clearline dlq list" in str(done.exception)


def test_replay_puts_bytes_key_and_own_headers_back(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    bury(kafka_broker, prefix, dlq_reason="headers")
    letter_id = bury(kafka_broker, prefix)
    assert parsed("replay", letter_id, "--config", config) == {"n_replayed": 1, "refused": []}
    (frame,) = frames(kafka_broker, prefix)
    assert (frame.key, frame.value) == (b"cap-07", BYTES)
    assert list(frame.headers) == [
        ("camera", b"cap-07"),
        ("sequence", b"2"),
        ("dlq_original_partition", b"0"),
        ("dlq_original_offset", b"41"),
        ("dlq_original_timestamp", b"1700000000000"),
        ("dlq_replays", b"1"),
    ]


def test_replay_takes_all_of_one_reason_or_all(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    for reason in ("headers", "empty", "headers"):
        bury(kafka_broker, prefix, dlq_reason=reason)
    assert parsed("replay", "--reason", "headers", "--config", config)["n_replayed"] == 2
    assert parsed("replay", "--all", "--config", config)["n_replayed"] == 3
    assert len(frames(kafka_broker, prefix)) == 5


def test_a_letter_is_not_put_back_for_ever(config: str, prefix: str, kafka_broker: KafkaBroker) -> None:
    bury(kafka_broker, prefix, dlq_replays="2")
    worn_out = bury(kafka_broker, prefix, dlq_replays="3")
    done = run("replay", "--all", "--config", config)
    assert done.exit_code == DataError.exit_code
    assert f"{worn_out:8} refused: it was put back 3 times already, the limit is 3" in done.stdout
    assert "1 put back, 1 refused" in done.stdout
    (frame,) = frames(kafka_broker, prefix)
    assert dict(frame.headers)["dlq_replays"] == b"3"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"dlq_original_topic": ""}, "it came from cap-07, which is no topic"),
        ({"dlq_cut_bytes": "9"}, "its 9 bytes were too large to be kept"),
    ],
)
def test_what_cannot_go_back_is_refused_with_the_reason(
    config: str, prefix: str, kafka_broker: KafkaBroker, told: dict[str, str], expected: str
) -> None:
    given = {"dlq_original_topic": f"{prefix}.frames.v1", **told}
    letter_id = bury(kafka_broker, prefix, topic=None, **given)
    (refused,) = parsed("replay", letter_id, "--config", config)["refused"]
    assert refused["id"] == letter_id
    assert refused["why"].startswith(expected)
    assert frames(kafka_broker, prefix) == []


def test_a_topic_that_is_gone_is_named_and_nothing_more_is_tried(
    config: str, prefix: str, kafka_broker: KafkaBroker
) -> None:
    bury(kafka_broker, prefix)
    bury(kafka_broker, prefix, topic="gone")
    bury(kafka_broker, prefix)
    found = parsed("replay", "--all", "--config", config)
    assert (found["n_replayed"], len(found["refused"])) == (1, 1)
    assert "no such topic" in found["refused"][0]["why"]
    assert "(stopped here)" in found["refused"][0]["why"]


def test_a_line_whose_topics_were_never_made_names_the_command(config: str, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(Path(config).read_text().replace("topics_prefix: line", "topics_prefix: never"))
    done = run("list", "--config", str(other))
    assert isinstance(done.exception, SourceUnavailable)
    assert "make it with `clearline kafka init" in str(done.exception)


@pytest.mark.parametrize("words", [[], ["0:1", "--all"], ["--all", "--reason", "x"]])
def test_replay_wants_one_way_of_choosing(config: str, words: list[str]) -> None:
    assert isinstance(run("replay", *words, "--config", config).exception, ConfigError)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "results.jsonl.dead.jsonl"
    letter = {"event_id": "cap-1-2-3-full", "source_id": "cap-1", "reason": "undecodable", "message": "cut"}
    letter |= {"schema_version": "1.0", "time": "2026-01-31T08:15:14.870Z", "n_bytes": len(BYTES)}
    lines = [json.dumps({**letter, "original_base64": base64.b64encode(BYTES * n).decode()}) for n in (1, 2)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_file_of_letters_is_listed_and_shown(file: str, tmp_path: Path) -> None:
    found = parsed("list", "--file", file)
    assert [(letter["id"], letter["n_bytes"]) for letter in found["letters"]] == [
        ("1", len(BYTES)),
        ("2", len(BYTES) * 2),
    ]
    run("show", "2", "--file", file, "--out", str(tmp_path / "two"))
    assert (tmp_path / "two").read_bytes() == BYTES * 2


def test_a_file_of_letters_is_not_replayed(file: str) -> None:
    done = run("replay", "1", "--file", file)
    assert isinstance(done.exception, ConfigError)
    assert "a file, which knows no topic" in str(done.exception)


def test_a_file_that_holds_something_else_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"result": 1}\n')
    done = run("list", "--file", str(path))
    assert isinstance(done.exception, DataError)
    assert "line 1: expected a dead letter as JSON" in str(done.exception)


def test_neither_a_line_nor_a_file_is_a_usage_error() -> None:
    assert isinstance(run("list").exception, ConfigError)
