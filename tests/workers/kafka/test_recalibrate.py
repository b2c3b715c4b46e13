"""`clearline worker recalibrate`: the loop in a process of its own, over a real broker, moving heads of others."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
import yaml
from kafka import KafkaProducer

from pipeline.adaptation.lifecycle.states import State
from pipeline.errors import BundleError, ConfigError
from pipeline.heads.bundles import registry
from pipeline.simulation.line import SimulatedLine
from tests.lines import SEED, SIZE
from tests.servers.kafka import KafkaBroker
from tests.workers.adaptation.test_wire import N, make_seen
from tests.workers.commands.adapting import Home, make_home
from workers.adaptation.carrying import Receiver, Sender
from workers.adaptation.live_file import write_safe
from workers.adaptation.tap import LANE, Seen, Tap
from workers.app import Pipeline
from workers.backoff import Backoff
from workers.channel import Channel
from workers.clock import SystemClock
from workers.config.line import LineConfig, load_config
from workers.following import HeadFollower, Wanted
from workers.kafka.connection import KafkaConnection
from workers.kafka.producer import ParcelProducer
from workers.kafka.topics import create_topics, topic_specs
from workers.opening.kafka import as_inference
from workers.recalibration.app import RecalibrationPipeline

WITHIN_S = 60.0
N_FRAMES = 40


def backoff() -> Backoff:
    return Backoff(initial_s=0.1, cap_s=0.5, rng=random.Random(0))


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {WITHIN_S} s"
        time.sleep(0.05)


def test_what_was_decided_comes_out_of_the_topic_in_order_and_once(kafka_broker: KafkaBroker) -> None:
    topic, clock = kafka_broker.new_topic("embeddings"), SystemClock()
    connection = KafkaConnection(bootstrap=(kafka_broker.bootstrap,), api_timeout_s=5.0, request_timeout_s=5.0)
    batches: Channel[Seen] = Channel(capacity=10, clock=clock)
    unreadable: list[None] = []
    receiver = Receiver(
        batches,
        connection=connection,
        topic=topic,
        group=f"recalibrate-{topic}",
        backoff=backoff(),
        clock=clock,
        unreadable=lambda: unreadable.append(None),
    )
    reading = threading.Thread(target=receiver.run, daemon=True)
    reading.start()
    wait_for(lambda: receiver.failing is None)
    send_one(kafka_broker, topic, b"no batch")
    tap, looks = Tap(clock=clock), list[None]()
    for first in range(0, 20 * N, N):
        tap.batches.put(make_seen(first=first), lane=LANE)
    tap.close()
    Sender(
        tap,
        producer=ParcelProducer(connection, max_message_bytes=1_000_000),
        topic=topic,
        backoff=backoff(),
        clock=clock,
        look=lambda: looks.append(None),
        left_out=lambda _n: None,
    ).run()
    got = list[int]()
    wait_for(lambda: got.extend(_sequences(batches)) or len(got) >= 20 * N)  # type: ignore[func-returns-value]
    receiver.close()
    reading.join(10.0)
    assert got == list(range(20 * N))
    assert len(unreadable) == 1
    assert looks


def send_one(broker: KafkaBroker, topic: str, value: bytes) -> None:
    foreign = KafkaProducer(bootstrap_servers=broker.bootstrap)
    foreign.send(topic, value)
    foreign.flush()
    foreign.close()


def _sequences(batches: Channel[Seen]) -> list[int]:
    return [one.ref.sequence for seen in batches.take(timeout_s=0.1) for one in seen.predictions]


def test_a_follower_swaps_once_for_each_change_and_keeps_its_head_where_another_cannot_be_loaded() -> None:
    wanted: list[Wanted] = [(1, "a", False)]
    swapped, tried = list[object](), list[Wanted]()

    def load(one: Wanted) -> object:
        tried.append(one)
        if one[0] == 3:
            raise BundleError("3.safetensors: expected a head, got half of one")
        return one

    follower = HeadFollower(wanted=lambda: wanted[-1], load=load, swap=swapped.append, now=wanted[0])  # type: ignore[arg-type]
    for one in [(1, "a", False), (2, "b", False), (2, "b", True), (3, "c", False), (3, "c", False), (1, "a", False)]:
        wanted.append(one)
        follower.look()
    assert swapped == [(2, "b", False), (2, "b", True), (1, "a", False)]
    assert tried.count((3, "c", False)) == 1, "told once"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("recalibrate"))


@pytest.fixture
def config(fitted: Home, kafka_broker: KafkaBroker, tmp_path: Path) -> LineConfig:
    """The same line on topics and in a folder of its own."""
    prefix = kafka_broker.new_topic("line")
    content = yaml.safe_load(fitted.path.read_text())
    content["kafka"] = {"bootstrap": kafka_broker.bootstrap, "topics_prefix": prefix}
    content["topic_reader"] = {"type": "kafka", "start": "earliest", "group": f"infer-{prefix}"}
    content["head"]["registry"] = str(tmp_path / "heads")
    content["adaptation"]["folder"] = str(tmp_path / "adaptation")
    content["sinks"] = [{"type": "jsonl", "path": str(tmp_path / "results.jsonl"), "fsync": "never"}]
    shutil.copytree(fitted.folder / "heads", tmp_path / "heads")
    path = tmp_path / "line.yaml"
    path.write_text(yaml.safe_dump(content))
    config = load_config(path)
    assert config.kafka is not None
    create_topics(config.kafka.connection(), topic_specs(prefix=prefix, partitions=1), replication=1)
    return config


@pytest.fixture
def recalibration(config: LineConfig) -> Iterator[RecalibrationPipeline]:
    one = RecalibrationPipeline(config)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def inference(config: LineConfig) -> Iterator[Pipeline]:
    one = Pipeline(as_inference(config), carried=config.cameras)
    one.start()
    yield one
    one.stop()


def send_frames(config: LineConfig, *, n: int) -> None:
    line = SimulatedLine(SEED, **SIZE)
    assert config.kafka is not None
    producer = KafkaProducer(bootstrap_servers=list(config.kafka.bootstrap))
    for index in range(n):
        jpeg = cv2.imencode(".jpg", line.render(index).image)[1].tobytes()
        producer.send(f"{config.kafka.topics_prefix}.frames.v1", jpeg, key=b"cap-01")
    producer.flush()
    producer.close()


def test_a_line_of_two_processes_records_and_takes_its_head_from_the_loop(
    config: LineConfig, recalibration: RecalibrationPipeline, inference: Pipeline
) -> None:
    wait_for(lambda: not recalibration.line.unready())
    send_frames(config, n=N_FRAMES)
    wait_for(lambda: recalibration.line.n_parts == N_FRAMES)
    wait_for(lambda: inference.line.ledger.total().delivered == N_FRAMES)
    assert recalibration.loop.state.state is State.COMMISSIONING
    assert (inference.head.version, inference.adaptation) == (2, None)
    heads = config.head.registry / config.head.name
    registry.promote(heads, version=1, encoder=None)  # as the loop does after its gate
    wait_for(lambda: inference.head.version == 1)
    assert config.adaptation is not None
    write_safe(config.adaptation.folder / "safe.json", version=1, safe=True)
    wait_for(lambda: inference.line.live.safe)
    send_frames(config, n=N_FRAMES)
    wait_for(lambda: recalibration.line.n_parts == 2 * N_FRAMES)
    wait_for(lambda: inference.line.ledger.total().delivered == 2 * N_FRAMES)
    last = inference.line.last_result("cap-01")
    assert last is not None
    assert last.head_version == 1


def test_without_the_section_or_the_topic_it_says_what_is_missing(config: LineConfig) -> None:
    with pytest.raises(ConfigError, match="expected the section adaptation"):
        RecalibrationPipeline(config.model_copy(update={"adaptation": None}))
    assert config.kafka is not None
    elsewhere = config.kafka.model_copy(update={"topics_prefix": "nobody"})
    with pytest.raises(ConfigError, match=r"nobody\.embeddings\.v1"):
        RecalibrationPipeline(config.model_copy(update={"kafka": elsewhere}))
