"""What Kafka costs: the line between two topics beside the same line fed from memory, and two workers beside one.

    python -m tests.benchmarks.kafka_throughput              20 KB and 100 KB pictures
    python -m tests.benchmarks.kafka_throughput --seconds 5  shorter

The broker is real and on this machine; its CPU is not in the figures. The encoder is a sleep of 1 ms per image, as if
on a device of its own. All lines decode the same JPEG pictures. `memory` is fed from memory and writes its results to
the topic as `at_least_once` does, `memory_only` drops them. Each figure is of the steady part of a run; the lines run
in turn, and a ratio is that of two runs of the same round. On a machine that others use too, frames per CPU second say
more than frames per second. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from pipeline.errors import SourceUnavailable
from pipeline.interfaces import Sink, Source
from pipeline.types import SourceFrame
from tests.fakes import FakeSink
from tests.kafka_faults import Worker, own_broker
from tests.kafka_lines import LineOptions, line_of, topic_sink, topic_source
from tests.kafka_topics import Message, write_topic
from tests.servers.kafka import KafkaBroker
from workers.clock import SystemClock
from workers.kafka.message import KafkaPosition, read_frame
from workers.ledger import Ledger
from workers.line import Line

ENCODER_S = 0.001
SLOW_ENCODER_S = 0.008  # two workers share two cores: what they do beside waiting must fit
N_PARTITIONS, N_CAMERAS = 8, 32
WARM_UP = 300  # frames before the clock starts
TARGET_RATIO, TARGET_SPEED_UP = 0.8, 1.8
PAIRS = [
    ("at_least_once", "memory"),
    ("exactly_once", "memory"),
    ("at_least_once", "memory_only"),
    ("exactly_once", "memory_only"),
]


@dataclass(frozen=True, slots=True)
class Run:
    """One run's steady part."""

    frames_per_second: float
    cpu_ms_per_frame: float  # of this process


class MemorySource:
    """The same messages, from a list, for ever."""

    live = False
    source_id = "frames"

    def __init__(self, values: list[bytes], *, clock: SystemClock) -> None:
        self._values, self._clock, self._n, self._open = values, clock, 0, False

    def open(self) -> None:
        self._open = True

    def read(self) -> SourceFrame | None:
        if not self._open:
            raise SourceUnavailable("closed")
        n, self._n = self._n, self._n + 1
        key = f"cap-{n % N_CAMERAS:02d}".encode()
        position = KafkaPosition("memory", 0, n, 1, 1_700_000_000_000, key, ())
        value = self._values[n % len(self._values)]
        message = read_frame(value, position=position, where="memory", max_bytes=10_000_000)
        return SourceFrame(
            message.image,
            message.captured_at,
            message.capture_time_source,
            self._clock.monotonic(),
            position=position,
            evidence=value,
            origin=message.origin,
        )

    def ack(self, position: object) -> None:
        pass

    def close(self) -> None:
        self._open = False


def pictures(n_bytes: int, *, n: int = 16) -> list[bytes]:
    """JPEG of about so many bytes, no two the same; a camera's picture of that size has about these many pixels."""
    width, height = (640, 480) if n_bytes < 50_000 else (1280, 960)
    generator = np.random.default_rng(n_bytes)
    found = []
    for _ in range(n):
        coarse = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        quality = min(range(20, 96, 5), key=lambda q: abs(len(_jpeg(picture, q)) - n_bytes))
        found.append(_jpeg(picture, quality))
    return found


def _jpeg(picture: Any, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data)


def measured(line: Line, *, seconds: float) -> Run:
    """The line between its warm-up and `seconds` later."""
    line.start()
    while line.ledger.total().delivered < WARM_UP:
        line.wait(0.02)
    n_before, wall, cpu = line.ledger.total().delivered, time.perf_counter(), time.process_time()
    time.sleep(seconds)
    n = line.ledger.total().delivered - n_before
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    line.stop(timeout_s=20.0)
    return Run(n / wall, 1e3 * cpu / max(1, n))


def fill(broker: KafkaBroker, *, values: list[bytes], n: int) -> LineOptions:
    """Topics with n frames on the first."""
    options = LineOptions(
        bootstrap=broker.bootstrap,
        frames=broker.new_topic("frames", n_partitions=N_PARTITIONS),
        results=broker.new_topic("results", n_partitions=N_PARTITIONS),
        states=broker.new_topic("states"),
        letters=broker.new_topic("dlq"),
        max_message_bytes=10_000_000,
        buffer_bytes=64_000_000,
    )
    batch = [Message(f"cap-{k % N_CAMERAS:02d}".encode(), values[k % len(values)], {}) for k in range(256)]
    for _ in range(n // len(batch) + 1):
        write_topic(broker.bootstrap, options.frames, batch)
    return options


def beside_memory(broker: KafkaBroker, *, n_bytes: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Kafka and memory in turn."""
    values = pictures(n_bytes)
    base = replace(fill(broker, values=values, n=int(1100 * (seconds + 3))), encoder_s=ENCODER_S)
    runs: dict[str, list[Run]] = {kind: [] for kind in ("memory", "at_least_once", "exactly_once", "memory_only")}
    for _ in range(rounds):
        for kind, found in runs.items():
            clock = SystemClock()
            options = replace(base, group=uuid.uuid4().hex, delivery=kind, transactional_id=uuid.uuid4().hex)
            topic = None if kind.startswith("memory") else topic_source(options, clock=clock)
            source: Source = topic or MemorySource(values, clock=clock)
            ledger = Ledger()
            sink: Sink = FakeSink()
            if kind != "memory_only":
                sink = topic_sink(options, source=topic, clock=clock, ledger=ledger)
            line = line_of(source, sinks=[sink], options=options, clock=clock, ledger=ledger)
            found.append(measured(line, seconds=seconds))
    return {
        "bytes": round(sum(map(len, values)) / len(values)),
        "frames_per_second": {
            kind: round(median(one.frames_per_second for one in found)) for kind, found in runs.items()
        },
        "cpu_ms_per_frame": {
            kind: round(median(one.cpu_ms_per_frame for one in found), 2) for kind, found in runs.items()
        },
        "ratios": {f"{kind} to {other}": paired(runs[kind], other=runs[other]) for kind, other in PAIRS},
    }


def paired(ours: list[Run], *, other: list[Run]) -> dict[str, float]:
    """Of ours to the other's of the same round, medians over the rounds."""
    rounds = list(zip(ours, other, strict=True))
    return {
        "frames_per_second": round(median(a.frames_per_second / b.frames_per_second for a, b in rounds), 2),
        "frames_per_cpu_second": round(median(b.cpu_ms_per_frame / a.cpu_ms_per_frame for a, b in rounds), 2),
    }


def two_beside_one(broker: KafkaBroker, *, folder: Path, seconds: float) -> dict[str, Any]:
    """Workers as processes of their own, one group, an encoder that sleeps."""
    base = replace(fill(broker, values=pictures(20_000), n=int(280 * (seconds + 12))), encoder_s=SLOW_ENCODER_S)
    rates = {}
    for n_workers in (1, 2):
        options = replace(base, group=uuid.uuid4().hex, results=broker.new_topic("results", n_partitions=N_PARTITIONS))
        workers = [Worker(options, log=folder / f"worker-{n}.log") for n in range(n_workers)]
        for worker in workers:
            worker.wait_ready()
        time.sleep(6.0)  # until the group has settled
        n_before, started_at = count(broker, options.results), time.perf_counter()
        time.sleep(seconds)
        n, wall = count(broker, options.results) - n_before, time.perf_counter() - started_at
        rates[n_workers] = n / wall
        for worker in workers:
            worker.end(signal.SIGTERM)
    return {
        "encoder_ms": SLOW_ENCODER_S * 1e3,
        "one_frames_per_second": round(rates[1], 1),
        "two_frames_per_second": round(rates[2], 1),
        "speed_up": round(rates[2] / rates[1], 2),
    }


def count(broker: KafkaBroker, topic: str) -> int:
    """Messages on the topic."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(**broker.connection())
    try:
        ends = consumer.end_offsets([TopicPartition(topic, n) for n in range(N_PARTITIONS)])
        return sum(ends.values())
    finally:
        consumer.close()


def main() -> None:
    """Everything, as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measured run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, own_broker(Path(folder)) as broker:
        found = {
            "cores": os.cpu_count(),
            "targets": {"ratio_to_memory": TARGET_RATIO, "speed_up": TARGET_SPEED_UP},
            "pictures": [
                beside_memory(broker, n_bytes=n_bytes, seconds=options.seconds, rounds=options.rounds)
                for n_bytes in (20_000, 100_000)
            ],
            "workers": two_beside_one(broker, folder=Path(folder), seconds=options.seconds),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
