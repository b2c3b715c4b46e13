"""MQTT against a real Mosquitto: away, killed, silent, strange, and secured."""

from __future__ import annotations

import io
import json
import logging
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SinkError
from pipeline.types import DeadLetter
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from tests.servers.certificates import Authority
from tests.servers.mosquitto import Mosquitto, Subscriber
from tests.servers.ports import free_port
from workers.backoff import Backoff
from workers.mqtt.connection import MqttConnection, Tls
from workers.sinks.mqtt import MqttDestination, MqttSink

CAP_S = 5.0
RIGHT, WRONG = "line-secret", "hunter2-do-not-show"
RESULTS = "plant/results/#"


class Bench:
    """A sink with its clock, before a broker that the test owns."""

    def __init__(self, connection: MqttConnection, *, path: Path, state_after: int = 3) -> None:
        self.clock = FakeClock()
        self.shed: list[tuple[int, str]] = []
        self.n_refused = 0

        def refused(n: int) -> None:
            self.n_refused += n

        self.destination = MqttDestination(
            replace(connection, status_topic="plant/status"),
            prefix="plant",
            clock=self.clock,
            state_after=state_after,
            on_refused=refused,
        )
        self.sink = MqttSink(
            self.destination,
            path=path,
            max_bytes=10_000_000,
            max_age_s=1e6,
            clock=self.clock,
            backoff=Backoff(initial_s=0.5, cap_s=CAP_S, rng=random.Random(0)),
            on_shed=lambda n, reason: self.shed.append((n, reason)),
            name="mqtt",
        )

    def deliver(self, *sequences: int, **more: Any) -> None:
        self.sink.deliver([make_prediction(sequence, **more) for sequence in sequences])

    def drain(self) -> None:
        self.clock.advance(2 * CAP_S)
        while self.sink.depth().n_rows:
            self.sink.flush()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def bench(broker: Mosquitto, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(MqttConnection("127.0.0.1", broker.port), path=tmp_path / "mqtt.sqlite")
    yield made
    made.sink.close()


@pytest.fixture
def others(broker: Mosquitto) -> Iterator[Subscriber]:
    made = Subscriber(broker, topic=RESULTS)
    yield made
    made.close()


def _ids(messages: list[tuple[str, bytes]]) -> list[int]:
    return [int(json.loads(payload)["event_id"].split("-")[-2]) for _, payload in messages]


def test_a_foreign_client_reads_results_as_json_on_a_topic_of_their_camera(bench: Bench, broker: Mosquitto) -> None:
    broker.subscribe(RESULTS, reader="plant-reader")
    bench.deliver(0, 1)
    bench.deliver(2, source_id="cap 02/über+#")
    read = broker.read(RESULTS, n=3, reader="plant-reader")
    topics = ["plant/results/cap-01/full"] * 2 + ["plant/results/cap%2002%2F%C3%BCber%2B%23/full"]
    assert [topic for topic, _ in read] == topics
    body = json.loads(read[1][1])
    assert (body["event_id"], body["result"]["label"]) == ("cap-01-1-1-full", "ok")
    assert (body["schema_version"], body["time"]["captured"]) == ("1.0", "2023-11-14T22:13:21.000Z")


def test_a_dead_letter_keeps_its_bytes(bench: Bench, broker: Mosquitto) -> None:
    broker.subscribe("plant/dead/#", reader="plant-reader")
    bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "not a JPEG \udcff", b"\x00\xff", make_ref(3)))
    [(topic, body)] = broker.read("plant/dead/#", n=1, reader="plant-reader")
    assert (topic, json.loads(body)["original_base64"]) == ("plant/dead/cap-01", "AP8=")


def test_who_comes_late_finds_the_state_of_each_region_and_that_the_line_is_there(
    bench: Bench, broker: Mosquitto
) -> None:
    bench.deliver(0, 1, 2)
    bench.deliver(3, 4, 5, label="scratch")
    bench.deliver(6, label="ok")  # once is no change
    kept = dict(broker.read("plant/#", n=2))
    assert kept["plant/status"] == "online"
    state = json.loads(kept["plant/states/cap-01/full"])
    assert (state["label"], state["previous"], state["result_id"]) == ("scratch", "ok", "cap-01-1-5-full")
    bench.sink.close()
    assert dict(broker.read("plant/status", n=1)) == {"plant/status": "offline"}


def test_a_line_that_dies_is_said_to_be_offline_by_the_broker(broker: Mosquitto, tmp_path: Path) -> None:
    connection = MqttConnection("127.0.0.1", broker.port, status_topic="plant/status")
    session = connection.open()
    watcher = Subscriber(broker, topic="plant/status")
    assert watcher.caught_up() == [("plant/status", b"online")]
    session._client.socket().shutdown(socket.SHUT_RDWR)  # a process that ends without a word
    while len(watcher.caught_up()) < 2:
        pass
    assert watcher.messages[-1] == ("plant/status", b"offline")
    session.close()
    watcher.close()


def test_a_quiet_line_connects_at_once_and_again_after_the_broker_was_away(bench: Bench, broker: Mosquitto) -> None:
    bench.sink.flush()
    assert dict(broker.read("plant/status", n=1)) == {"plant/status": "online"}
    broker.kill()
    broker.start()  # it has forgotten everything
    while bench.destination._session is not None and bench.destination._session.alive:
        bench.sink.flush()
    bench.sink.flush()
    assert dict(broker.read("plant/status", n=1)) == {"plant/status": "online"}


def test_a_broker_away_at_the_start_holds_nothing_up_and_gets_everything_in_order(
    broker: Mosquitto, bench: Bench
) -> None:
    broker.kill()
    bench.deliver(0, 1, 2)
    bench.deliver(3)
    assert bench.sink.depth().n_rows == 5  # with a state
    assert bench.sink.failing == (
        f"mqtt 127.0.0.1:{broker.port}: expected a broker, got: Connection refused; is it up, and reachable from here?"
    )
    broker.start()
    watcher = Subscriber(broker, topic=RESULTS)
    bench.drain()
    assert _ids(watcher.caught_up()) == [0, 1, 2, 3]
    watcher.close()


def test_a_broker_killed_in_mid_stream_costs_nothing_but_repetitions(
    broker: Mosquitto, bench: Bench, others: Subscriber
) -> None:
    def killing(n: int) -> None:
        if n == 150:
            broker.kill()

    others.on_message = killing
    for first in range(0, 1000, 10):
        bench.deliver(*range(first, first + 10))
    assert bench.sink.depth().n_rows >= 500
    broker.start()
    others.connect_again()
    bench.drain()
    bench.deliver(1000)
    received = _ids(others.caught_up())
    assert list(dict.fromkeys(received)) == list(range(1001))
    assert bench.shed == []


def test_what_a_silent_broker_has_taken_without_saying_so_comes_again_with_the_same_id(
    broker: Mosquitto, tmp_path: Path
) -> None:
    connection = MqttConnection("127.0.0.1", broker.port, timeout_s=0.3)
    bench = Bench(connection, path=tmp_path / "silent.sqlite")
    watcher = Subscriber(broker, topic=RESULTS)
    bench.deliver(0)
    broker.silence()
    bench.deliver(1)
    assert "expected acknowledgements, got none in time" in (bench.sink.failing or "")
    broker.speak()
    bench.drain()
    assert _ids(watcher.caught_up()) == [0, 1, 1]
    bench.sink.close()
    watcher.close()


def test_what_the_broker_can_never_take_is_put_aside_and_the_rest_arrives(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=("max_packet_size 20000",)) as broker:
        bench = Bench(MqttConnection("127.0.0.1", broker.port), path=tmp_path / "mqtt.sqlite")
        watcher = Subscriber(broker, topic=RESULTS)
        bench.sink.dead_letter(DeadLetter("cap-01", "undecodable", "", bytes(20_000), make_ref(0)))
        bench.deliver(1)
        assert _ids(watcher.caught_up()) == [1]
        assert bench.n_refused == 1
        bench.sink.close()
        watcher.close()


def test_a_topic_that_is_forbidden_is_no_delivery(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read #\ntopic write plant/status\n")
    with Mosquitto(tmp_path / "broker", lines=(f"acl_file {tmp_path / 'acl'}",)) as broker:
        bench = Bench(MqttConnection("127.0.0.1", broker.port), path=tmp_path / "mqtt.sqlite")
        bench.deliver(0)
        assert "got Not authorized; look at the broker's access list" in (bench.sink.failing or "")
        assert bench.sink.depth().n_rows == 1
        bench.sink.close()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that the client writes at DEBUG."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    yield text
    logging.getLogger().removeHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    assert RIGHT not in text.getvalue()
    assert WRONG not in text.getvalue()


def test_a_secured_broker_lets_in_who_may_and_says_in_one_line_why_others_may_not(
    tmp_path: Path, logged: io.StringIO
) -> None:
    authority, strangers = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    certificate = authority.issue("broker", hosts=("localhost",))
    own = authority.issue("line")
    with Mosquitto(
        tmp_path / "broker", users={"line": RIGHT}, certificate=certificate, client_ca=authority.ca
    ) as broker:
        tls = Tls(ca_file=authority.ca, certificate_file=own[0], key_file=own[1])
        good = MqttConnection("localhost", broker.port, username="line", password=lambda: RIGHT, tls=tls, timeout_s=2)
        good.open().close()
        cases = {
            "got Not authorized; correct username and password_file": replace(good, password=lambda: WRONG),
            "expected a certificate that is trusted, got: ": replace(good, tls=replace(tls, ca_file=strangers.ca)),
            "expected a certificate that names 127.0.0.1, got one of another; correct host": replace(
                good, host="127.0.0.1"
            ),
            "expected an MQTT broker's answer": replace(good, tls=replace(tls, certificate_file=None, key_file=None)),
        }
        for said, connection in cases.items():
            with pytest.raises(SinkError) as caught:
                connection.open()
            assert said in str(caught.value)
            assert "\n" not in str(caught.value)
            assert WRONG not in str(caught.value) + repr(connection)


def test_attempts_at_a_broker_that_refuses_become_rare(tmp_path: Path) -> None:
    bench = Bench(MqttConnection("127.0.0.1", free_port()), path=tmp_path / "mqtt.sqlite")
    attempts = 0
    for sequence in range(100):
        before = bench.sink._retry_at
        bench.deliver(sequence)
        attempts += bench.sink._retry_at != before
        bench.clock.advance(0.1)
    assert 3 <= attempts <= 12
    bench.sink.close()
