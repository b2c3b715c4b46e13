"""Frames through real workers and a real broker while both are killed; what came out is held against what went in."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import confluent_kafka
import cv2
import numpy as np

from tests.conftest import ROOT
from tests.kafka_lines import LineOptions
from tests.servers.kafka import KafkaBroker

N_CAMERAS, N_PARTITIONS = 12, 6
POISON_EVERY = 100
OVERSIZED = 120_000  # bytes; the workers take 100,000
QUIET_S = 60.0  # without a new result for so long, the rest does not come
PROGRESS = 0.1  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to whom, and how much flows meanwhile."""

    n_frames: int
    delivery: str = "at_least_once"
    broker_kills: int = 0
    worker_kills: int = 0
    visits: int = 0  # of a second worker that joins and leaves
    encoder_s: float = 0.0005
    seed: int = 0
    deadline_s: float = 1500.0


@dataclass(slots=True)
class Outcome:
    """What went in, what came out."""

    n_good: int = 0
    n_poison: int = 0
    n_results: int = 0
    n_duplicates: int = 0
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    contradicting: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    letters_missing: list[str] = field(default_factory=list)
    letters_changed: list[str] = field(default_factory=list)
    n_letter_duplicates: int = 0
    exit_codes: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def faults(self) -> dict[str, int]:
        """What must be empty, and how much of it there is."""
        names = ("missing", "unexpected", "contradicting", "out_of_order", "letters_missing", "letters_changed")
        return {name: len(getattr(self, name)) for name in names}


class Load:
    """The messages of a run: pictures keyed by camera, and poison among them."""

    def __init__(self, *, n_frames: int, seed: int) -> None:
        generator = random.Random(seed)
        self._pictures = [_jpeg(value) for value in range(64)]
        self.good: dict[str, str] = {}  # event id -> camera, in order of production
        self.poison: dict[str, bytes] = {}
        self.messages: list[tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]] = []
        sequences: Counter[str] = Counter()
        for number in range(n_frames):
            camera = f"cap-{generator.randrange(N_CAMERAS):02d}"
            sequence, sequences[camera] = sequences[camera], sequences[camera] + 1
            value = self._pictures[generator.randrange(len(self._pictures))]
            kind = b"image/jpeg"
            event_id = f"{camera}-7-{sequence}-full"
            if number % POISON_EVERY == POISON_EVERY // 2:
                value, kind = _poisoned(value, n=number // POISON_EVERY)
                self.poison[event_id] = value
            else:
                self.good[event_id] = camera
            headers: list[tuple[str, str | bytes | None]] = [
                ("content-type", kind),
                ("camera", camera.encode()),
                ("epoch", b"7"),
            ]
            headers += [("sequence", str(sequence).encode()), ("captured-at", b"1800000000.5")]
            self.messages.append((camera.encode(), value, headers))

    def produce(self, bootstrap: str, topic: str) -> None:
        """With a foreign client, as fast as it goes."""
        producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"})
        for key, value, headers in self.messages:
            while True:
                try:
                    producer.produce(topic, value=value, key=key, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(60) == 0


def _jpeg(value: int) -> bytes:
    picture = np.full((16, 16, 3), (value * 4, 255 - value * 4, (value * 37) % 256), np.uint8)
    done, encoded = cv2.imencode(".jpg", picture)
    assert done
    return bytes(encoded)


def _poisoned(value: bytes, *, n: int) -> tuple[bytes, bytes]:
    """(bytes, content type): cut, of the wrong kind, too large, in turn; each unlike all others."""
    mark = n.to_bytes(4, "big")
    if n % 3 == 0:
        return value[:200] + mark, b"image/jpeg"
    if n % 3 == 1:
        return value + mark, b"text/plain"
    return value + mark + bytes(OVERSIZED - len(value) - 4), b"image/jpeg"


class Worker:
    """A child process with a line in it."""

    def __init__(self, options: LineOptions, *, log: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka_lines", json.dumps(asdict(options))],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"READY\n", f"see {self._log.name}"

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        code = self._process.wait(timeout=60)
        self._log.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


class FaultRun:
    """One run over its own topics; as a context manager no worker is left behind."""

    def __init__(self, broker: KafkaBroker, *, plan: Plan, folder: Path) -> None:
        self._broker, self._plan, self._folder = broker, plan, folder
        self.outcome = Outcome()
        self.load = Load(n_frames=plan.n_frames, seed=plan.seed)
        large = "10000000"
        self.options = LineOptions(
            bootstrap=broker.bootstrap,
            frames=broker.new_topic("frames", n_partitions=N_PARTITIONS, max_message_bytes=large),
            results=broker.new_topic("results", n_partitions=N_PARTITIONS),
            states=broker.new_topic("states", cleanup_policy="compact"),
            letters=broker.new_topic("dlq", max_message_bytes=large),
            group=f"faults-{uuid.uuid4().hex[:8]}",
            delivery=plan.delivery,
            encoder_s=plan.encoder_s,
        )
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> FaultRun:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._workers):
            with contextlib.suppress(Exception):
                self._end(name, signal.SIGKILL)

    def run(self) -> Outcome:
        """Everything, to the last result."""
        started_at = time.monotonic()
        self.load.produce(self._broker.bootstrap, self.options.frames)
        self.outcome.n_good, self.outcome.n_poison = len(self.load.good), len(self.load.poison)
        reader = Reader(self.options)
        self._begin("a")
        due = self._faults()
        last_new_at, deadline = time.monotonic(), started_at + self._plan.deadline_s
        while time.monotonic() < deadline and time.monotonic() - last_new_at < QUIET_S:
            if reader.read():
                last_new_at = time.monotonic()
            while due and due[0][0] <= len(reader.results):
                due.pop(0)[1]()
                last_new_at = time.monotonic()
            if len(reader.results) >= len(self.load.good) and len(reader.letters) >= len(self.load.poison) and not due:
                break
        for name in list(self._workers):
            self._end(name, signal.SIGTERM)
        reader.read_rest()
        reader.close()
        self._judge(reader)
        self.outcome.seconds = time.monotonic() - started_at
        return self.outcome

    def _faults(self) -> list[tuple[int, Callable[[], None]]]:
        """(results seen, what happens then), in order."""
        generator = random.Random(self._plan.seed + 1)
        n = self._plan.n_frames

        def some(count: int) -> list[int]:
            return [int(n * (0.03 + 0.87 * (k + generator.random()) / count)) for k in range(count)]

        due: list[tuple[int, Callable[[], None]]] = []
        due += [(at, self._kill_worker) for at in some(self._plan.worker_kills)]
        due += [(at, self._kill_broker) for at in some(self._plan.broker_kills)]
        for at in some(self._plan.visits):
            due += [(at, lambda: self._begin("b")), (at + n // 40, lambda: self._end("b", signal.SIGTERM))]
        return sorted(due, key=lambda one: one[0])

    def _begin(self, name: str) -> None:
        if name not in self._workers:
            options = replace(self.options, transactional_id=f"{self.options.group}-{name}")
            self._workers[name] = worker = Worker(options, log=self._folder / f"worker-{name}.log")
            worker.wait_ready()

    def _end(self, name: str, number: signal.Signals) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            self.outcome.exit_codes[worker.end(number)] += 1

    def _kill_worker(self) -> None:
        self._end("a", signal.SIGKILL)
        self._begin("a")

    def _kill_broker(self) -> None:
        self._broker.kill()
        self._broker.start()

    def _judge(self, reader: Reader) -> None:
        outcome, load = self.outcome, self.load
        outcome.n_results = sum(reader.times.values())
        outcome.n_duplicates = outcome.n_results - len(reader.results)
        outcome.missing = [one for one in load.good if one not in reader.results]
        outcome.unexpected = [one for one in reader.results if one not in load.good]
        outcome.contradicting = reader.contradicting
        by_camera: dict[str, list[str]] = defaultdict(list)
        for one, camera in load.good.items():
            if one in reader.results:
                by_camera[camera].append(one)
        seen: dict[str, list[str]] = defaultdict(list)
        for one in reader.results:
            if one in load.good:
                seen[load.good[one]].append(one)
        for camera, expected in by_camera.items():
            outcome.out_of_order += [a for a, b in zip(expected, seen[camera], strict=True) if a != b]
        outcome.letters_missing = [one for one in load.poison if one not in reader.letters]
        outcome.letters_changed = [
            one for one, values in reader.letters.items() if any(value != load.poison.get(one) for value in values)
        ]
        outcome.n_letter_duplicates = sum(len(values) - 1 for values in reader.letters.values())


class Reader:
    """Reads results and letters as a foreign, careful client does: read_committed, no group."""

    def __init__(self, options: LineOptions) -> None:
        self.results: dict[str, tuple[str, float]] = {}  # by event id, in order of first arrival within a partition
        self.times: Counter[str] = Counter()
        self.contradicting: list[str] = []
        self.letters: dict[str, list[bytes]] = defaultdict(list)
        self._options = options
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": options.bootstrap,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                "fetch.message.max.bytes": 10_000_000,
            }
        )
        topics = {options.results: N_PARTITIONS, options.letters: 1}
        self._consumer.assign(
            [confluent_kafka.TopicPartition(name, n, 0) for name, count in topics.items() for n in range(count)]
        )

    def read(self) -> bool:
        """What has come; True where something was new."""
        before = len(self.results) + len(self.letters)
        for message in self._consumer.consume(num_messages=2000, timeout=PROGRESS):
            if message.error() is None:
                self._take(message)
        return len(self.results) + len(self.letters) > before

    def read_rest(self) -> None:
        """Until nothing has come for a second and a half."""
        silent_at = time.monotonic()
        while time.monotonic() - silent_at < 1.5:
            n = sum(self.times.values())
            if self.read() or sum(self.times.values()) > n:
                silent_at = time.monotonic()

    def close(self) -> None:
        self._consumer.close()

    def _take(self, message: Any) -> None:
        headers = {name: bytes(value or b"") for name, value in message.headers() or []}
        if message.topic() == self._options.letters:
            self.letters[headers["dlq_event_id"].decode()].append(message.value() or b"")
            return
        body = json.loads(message.value())
        event_id = body["event_id"]
        assert headers["ce_id"].decode() == event_id
        told = (body["result"]["label"], round(body["result"]["confidence"], 4))
        self.times[event_id] += 1
        first = self.results.setdefault(event_id, told)
        if first[0] != told[0] or abs(first[1] - told[1]) > 1e-3:
            self.contradicting.append(event_id)


@contextlib.contextmanager
def own_broker(folder: Path) -> Iterator[KafkaBroker]:
    """A broker that may be killed."""
    with KafkaBroker(folder / "broker") as broker:
        yield broker
