"""Frames with part headers through a real broker: one decision per part, also when a worker is killed."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from tests.kafka_faults import Worker, _jpeg
from tests.kafka_lines import LineOptions, line_between, topic_source
from tests.kafka_topics import Message, read_topic, write_topic
from tests.servers.kafka import KafkaBroker
from workers.clock import SystemClock

WAIT_S = 60.0
N_PARTS = 100  # of each of two cameras that share a partition
POISON = b"\xff\xd8 cut short"
ORDER = ("a", "a", "b", "a", "b", "b")  # parts of two cameras overlap, and then do not


@pytest.fixture
def options(kafka_broker: KafkaBroker) -> LineOptions:
    return LineOptions(
        bootstrap=kafka_broker.bootstrap,
        frames=kafka_broker.new_topic("frames", n_partitions=1),
        results=kafka_broker.new_topic("results"),
        states=kafka_broker.new_topic("states"),
        letters=kafka_broker.new_topic("dlq"),
        group=f"parts-{uuid.uuid4().hex[:8]}",
        part_frames=3,
        part_header="Lot-Part",
        encoder_s=0.002,
    )


def messages() -> Iterator[Message]:
    """Three frames per part and camera; of every tenth part of camera a the second is no picture."""
    sequences: dict[str, int] = defaultdict(int)
    for number in range(N_PARTS):
        for turn, camera in enumerate(ORDER):
            sequence, sequences[camera] = sequences[camera], sequences[camera] + 1
            poison = camera == "a" and number % 10 == 0 and turn == 1
            headers = {
                "camera": camera.encode(),
                "epoch": b"7",
                "sequence": str(sequence).encode(),
                "lot-part": f"{camera}{number}".encode(),
            }
            yield Message(camera.encode(), POISON if poison else _jpeg(number % 64), headers)


def results(options: LineOptions) -> dict[str, list[dict[str, Any]]]:
    """Bodies by part."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in read_topic(options.bootstrap, options.results):
        body = json.loads(one.value)
        found[body["part"]["id"]].append(body)
    return found


def committed(options: LineOptions) -> int:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": options.bootstrap, "group.id": options.group})
    try:
        [found] = consumer.committed([confluent_kafka.TopicPartition(options.frames, 0)], timeout=10)
        return int(found.offset)
    finally:
        consumer.close()


def wait_for_parts(options: LineOptions, n: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while len(results(options)) < n:
        assert time.monotonic() < deadline, f"{len(results(options))} of {n} parts within {WAIT_S} s"
        time.sleep(0.1)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_each_part_is_decided_once_though_a_worker_is_killed_in_the_middle(
    options: LineOptions, tmp_path: Path, delivery: str
) -> None:
    options = replace(options, delivery=delivery, transactional_id=uuid.uuid4().hex)
    write_topic(options.bootstrap, options.frames, messages())
    first = Worker(options, log=tmp_path / "first.log")
    first.wait_ready()
    wait_for_parts(options, N_PARTS // 4)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = Worker(replace(options, transactional_id=uuid.uuid4().hex), log=tmp_path / "second.log")
    second.wait_ready()
    wait_for_parts(options, 2 * N_PARTS)
    assert second.end(signal.SIGTERM) == 0
    found = results(options)
    assert set(found) == {f"{camera}{number}" for camera in "ab" for number in range(N_PARTS)}
    for part, bodies in found.items():
        poisoned = part.startswith("a") and int(part[1:]) % 10 == 0
        assert {body["part"]["n_frames"] for body in bodies} == {2 if poisoned else 3}, part
        assert len({body["event_id"] for body in bodies}) == 1, part
        assert len({body["result"]["label"] for body in bodies}) == 1, part
        assert len(bodies) == 1 or delivery == "at_least_once", part
    assert committed(options) == len(ORDER) * N_PARTS
    letters = {one.headers["dlq_event_id"] for one in read_topic(options.bootstrap, options.letters)}
    assert len(letters) == N_PARTS // 10


def test_the_last_part_is_decided_when_its_time_is_over_and_its_offsets_follow(options: LineOptions) -> None:
    frames = list(messages())[: len(ORDER) - 1]  # one frame of camera b is still to come, and does not
    write_topic(options.bootstrap, options.frames, frames)
    clock = SystemClock()
    options = replace(options, close_after_s=0.3)
    line = line_between(topic_source(options, clock=clock), options=options, clock=clock)
    line.start()
    wait_for_parts(options, 2)
    deadline = time.monotonic() + WAIT_S
    while committed(options) != len(frames):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    line.stop(timeout_s=20.0)
    assert {part: body["part"]["n_frames"] for part, [body] in results(options).items()} == {"a0": 2, "b0": 2}
    total = line.ledger.total()
    assert (total.captured, total.delivered, total.in_flight, total.error) == (5, 4, 0, 0)
