"""A stranger's client, kcat, puts pictures on our topic and reads our results."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.kafka_faults import Load
from tests.kafka_lines import LineOptions, line_between, topic_source
from tests.servers.kafka import KafkaBroker
from workers.clock import SystemClock

N_PICTURES = 5
WAIT_S = 60.0


@pytest.fixture
def kcat(kafka_broker: KafkaBroker) -> list[str]:
    """The command, as far as every use of it goes."""
    found = shutil.which("kcat") or shutil.which("kafkacat")
    need(found is not None, what="kcat", how="apt-get install kcat")
    return [str(found), "-b", kafka_broker.bootstrap, "-q"]


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    made = SystemClock()
    yield made
    made.close()


def test_kcat_sends_picture_files_and_reads_results(
    kafka_broker: KafkaBroker, kcat: list[str], clock: SystemClock, tmp_path: Path
) -> None:
    options = LineOptions(
        bootstrap=kafka_broker.bootstrap,
        frames=kafka_broker.new_topic("frames", n_partitions=2),
        results=kafka_broker.new_topic("results"),
        states=kafka_broker.new_topic("states"),
        letters=kafka_broker.new_topic("dlq"),
        group=uuid.uuid4().hex,
    )
    for number, (_, value, _) in enumerate(Load(n_frames=N_PICTURES, seed=0).messages):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(value)
        subprocess.run([*kcat, "-P", "-t", options.frames, "-k", "cap-07", str(path)], check=True, timeout=WAIT_S)
    source = topic_source(options, clock=clock)
    line = line_between(source, options=options, clock=clock)
    line.start()
    read = [*kcat, "-C", "-t", options.results, "-o", "beginning", "-c", str(N_PICTURES), "-f", "%k %h %s\n"]
    said = subprocess.run(read, check=True, timeout=WAIT_S, capture_output=True, text=True).stdout.splitlines()
    line.stop(timeout_s=10.0)
    assert len(said) == N_PICTURES
    for one in said:
        key, headers, body = one.split(" ", 2)
        event = json.loads(body)
        assert (key, event["source_id"]) == ("cap-07", "cap-07")
        assert "ce_type=clearline.result.v1" in headers
        assert f"ce_id={event['event_id']}" in headers
        assert event["result"]["label"] in ("ok", "scratch")
