"""Signed POST requests against a real HTTP server, alone and behind an outbox."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SinkError
from pipeline.types import DeadLetter
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from tests.servers.ports import free_port
from tests.servers.silent import SilentServer
from tests.servers.webhook import WebhookServer, webhook_server
from workers.backoff import Backoff
from workers.outbox.sink import OutboxSink
from workers.outbox.store import Parcel
from workers.sinks.webhook import WebhookDestination, signature

KEY = "a key of both sides"


class Bench:
    """A destination whose receiver is a real server."""

    def __init__(self, server: WebhookServer) -> None:
        self.server = server
        self.clock = FakeClock()
        self.url = f"{server.url}/hook?token=t0ken"
        self.key = KEY
        self.n_refused = 0
        self.destination = self.made()

    def made(self, *, timeout_s: float = 5.0) -> WebhookDestination:
        def refused(n: int) -> None:
            self.n_refused += n

        return WebhookDestination(
            lambda: self.url, secret=lambda: self.key, timeout_s=timeout_s, clock=self.clock, on_refused=refused
        )

    def parcels(self, *sequences: int) -> list[Parcel]:
        return [parcel for one in sequences for parcel in self.destination.pack(make_prediction(one))]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with webhook_server(secret=KEY) as server:
        made = Bench(server)
        yield made
        made.destination.close()


def _ids(*sequences: int) -> list[str]:
    return [f"cap-01-1-{sequence}-full" for sequence in sequences]


def test_a_portion_is_one_signed_request_of_cloud_events(bench: Bench) -> None:
    bench.destination.send(bench.parcels(0, 1, 2))
    assert bench.server.event_ids == _ids(0, 1, 2)
    assert bench.server.batches == [3]
    assert bench.server.paths == ["/hook?token=t0ken"]
    headers = bench.server.headers[0]
    assert headers["Content-Type"] == "application/cloudevents-batch+json"
    assert headers["X-Clearline-Timestamp"] == str(int(bench.clock.utc()))
    event = bench.server.events[0]
    assert (event["specversion"], event["type"], event["source"]) == ("1.0", "clearline.result.v1", "/clearline")
    assert event["data"]["result"]["label"] == "ok"
    assert event["data"]["event_id"] == event["id"]


def test_the_signature_is_that_of_a_known_example() -> None:
    # printf '1700000000.[]' | openssl dgst -sha256 -hmac key
    expected = "v1=2afce10b4f37880815b715635811bcfa4d5334e7213eea5bc2e130e1008055c3"
    assert signature(b"[]", timestamp="1700000000", secret="key") == expected


def test_another_key_or_a_changed_body_is_seen_by_the_receiver(bench: Bench) -> None:
    bench.key = "another"
    with pytest.raises(SinkError, match=r"got 401; the receiver refuses the signature"):
        bench.destination.send(bench.parcels(0))
    assert bench.server.verdicts == ["forged"]
    bench.key = KEY
    bench.destination.send(bench.parcels(0))
    assert bench.server.event_ids == _ids(0)


def test_a_dead_letter_keeps_its_bytes(bench: Bench) -> None:
    letter = DeadLetter("cap-01", "undecodable", "not a JPEG \udcff", b"\x00\xff", make_ref(3))
    bench.destination.send(bench.destination.pack(letter))
    event = bench.server.events[0]
    assert (event["type"], event["data"]["original_base64"]) == ("clearline.dead_letter.v1", "AP8=")


def test_a_connection_is_used_again_and_one_the_receiver_closed_is_no_fault(bench: Bench) -> None:
    for number in range(3):
        bench.destination.send(bench.parcels(number))
    assert len(bench.server.clients) == 1
    bench.server.closes = True
    for number in range(3, 6):
        bench.destination.send(bench.parcels(number))
    assert bench.server.event_ids == _ids(*range(6))


def test_an_event_that_is_never_taken_is_put_aside_and_the_others_arrive(bench: Bench) -> None:
    def answer(events: list[dict[str, Any]]) -> int:
        return 422 if any(event["id"] == _ids(2)[0] for event in events) else 200

    bench.server.answer = answer
    bench.destination.send(bench.parcels(0, 1, 2, 3, 4))
    assert bench.server.event_ids == _ids(0, 1, 3, 4)
    assert bench.n_refused == 1


@pytest.mark.parametrize("status", [302, 404, 408, 429, 500, 503])
def test_every_other_answer_means_later(bench: Bench, status: int) -> None:
    bench.server.answer = lambda _events: status
    with pytest.raises(SinkError, match=f"got {status}"):
        bench.destination.send(bench.parcels(0))
    assert bench.server.paths == ["/hook?token=t0ken"]  # a redirect is not followed


def test_no_message_shows_the_address_beyond_its_host(bench: Bench) -> None:
    bench.url = f"http://joe:hunter2@127.0.0.1:{free_port()}/t0ken?key=t0ken"
    with pytest.raises(SinkError) as caught:
        bench.destination.send(bench.parcels(0))
    assert "127.0.0.1" in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_receiver_that_never_answers_is_given_up_after_its_time(bench: Bench) -> None:
    with SilentServer() as silent:
        bench.url = f"http://127.0.0.1:{silent.port}/"
        with pytest.raises(SinkError, match="timed out"):
            bench.made(timeout_s=0.05).send(bench.parcels(0))


def test_a_key_that_is_gone_for_now_is_a_refusal(bench: Bench) -> None:
    def gone() -> str:
        raise ValueError("must name a readable file, got /run/key")

    destination = WebhookDestination(lambda: bench.url, secret=gone, timeout_s=1.0, clock=bench.clock)
    with pytest.raises(SinkError, match="got /run/key"):
        destination.send(bench.parcels(0))


def test_behind_an_outbox_what_was_refused_comes_again_in_order(bench: Bench, tmp_path: Path) -> None:
    box = OutboxSink(
        bench.destination,
        path=tmp_path / "webhook.sqlite",
        max_bytes=1_000_000,
        max_age_s=1e6,
        clock=bench.clock,
        backoff=Backoff(initial_s=1.0, cap_s=2.0, rng=random.Random(0)),
        on_shed=lambda _n, _reason: None,
    )
    bench.server.answer = lambda _events: 503
    box.deliver([make_prediction(0), make_prediction(1)])
    box.deliver([make_prediction(2)])
    assert box.depth().n_rows == 3
    bench.server.answer = lambda _events: 200
    bench.clock.advance(10.0)
    box.deliver([make_prediction(3)])
    box.close()
    assert bench.server.event_ids == _ids(0, 1, 2, 3)
