"""A trigger over HTTP: who may, how often, and what is answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.fakes import FakeClock
from workers.triggers.http import HttpTrigger, trigger_app
from workers.triggers.queue import TriggerQueue, Triggers

TOKEN = b"0123456789abcdef0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN.decode()}"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(clock: FakeClock) -> Callable[..., TestClient]:
    def make(*, token: bytes | None = TOKEN, per_s: float = 5.0, capacity: int = 100) -> TestClient:
        queue = TriggerQueue(capacity=capacity)
        triggers = Triggers({"cap-01": queue}, clock=clock, note=lambda camera, what: None)
        app = trigger_app({"cap-01": HttpTrigger(token, per_s)}, fire=triggers.fire, clock=clock)
        return TestClient(Starlette(routes=[Mount("/trigger", app)]))

    return make


def test_a_given_id_is_taken_and_a_missing_one_is_made(client: Callable[..., TestClient]) -> None:
    port = client()
    told = port.post("/trigger/cap-01", headers=BEARER, json={"part": "lot7-0001"})
    assert (told.status_code, told.json()) == (202, {"camera": "cap-01", "part": "lot7-0001"})
    made = port.post("/trigger/cap-01", headers=BEARER)
    assert made.status_code == 202
    assert len(made.json()["part"]) == 16


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}])
def test_without_the_token_nothing_is_triggered(client: Callable[..., TestClient], headers: dict[str, str]) -> None:
    assert client().post("/trigger/cap-01", headers=headers).status_code == 401


def test_unknown_cameras_look_like_a_wrong_token(client: Callable[..., TestClient]) -> None:
    assert client().post("/trigger/cap-09", headers=BEARER).status_code == 401
    assert client(token=None).post("/trigger/cap-09").status_code == 404


def test_guessing_tokens_is_slowed_down(client: Callable[..., TestClient]) -> None:
    port = client()
    codes = [port.post("/trigger/cap-01", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2


def test_a_page_in_a_browser_cannot_trigger_a_line_without_a_token(client: Callable[..., TestClient]) -> None:
    port = client(token=None)
    assert port.post("/trigger/cap-01", headers={"Origin": "http://127.0.0.1:9109"}).status_code == 403
    assert port.post("/trigger/cap-01").status_code == 202


def test_more_triggers_than_allowed_wait_for_time(client: Callable[..., TestClient], clock: FakeClock) -> None:
    port = client(per_s=2.0)
    codes = [port.post("/trigger/cap-01", headers=BEARER).status_code for _ in range(3)]
    assert codes == [202, 202, 429]
    clock.advance(0.5)
    assert port.post("/trigger/cap-01", headers=BEARER).status_code == 202


def test_a_full_queue_says_so(client: Callable[..., TestClient]) -> None:
    port = client(capacity=1)
    port.post("/trigger/cap-01", headers=BEARER)
    answer = port.post("/trigger/cap-01", headers=BEARER)
    assert answer.status_code == 503
    assert "trigger.queue" in answer.json()["error"]


@pytest.mark.parametrize("body", [b"no json", b"[1]", b'{"part": 7}', b'{"part": ""}', b'{"parts": "x"}', b" " * 5000])
def test_a_body_that_is_no_trigger_is_refused(client: Callable[..., TestClient], body: bytes) -> None:
    answer = client().post("/trigger/cap-01", headers=BEARER, content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_only_posts_trigger(client: Callable[..., TestClient]) -> None:
    assert client().get("/trigger/cap-01", headers=BEARER).status_code == 405
