"""The review page under a server of its own, users included."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.fakes import FakeClock
from workers.review.access import Access, Role, User, password_hash, token_hash
from workers.review.app import review_app
from workers.review.backend import ReviewBackend

PASSWORDS = {"vera": "look only", "liu": "one key each", "aoki": "four eyes"}
TOKEN = "mes-4f1f0f3a9b7c4de8a1a2b3c4d5e6f708"
USERS = (
    User("vera", Role.VIEWER, password_hash(PASSWORDS["vera"])),
    User("liu", Role.LABELLER, password_hash(PASSWORDS["liu"])),
    User("aoki", Role.APPROVER, password_hash(PASSWORDS["aoki"])),
    User("mes", Role.LABELLER, token_hash=token_hash(TOKEN)),
)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def mounted(
    backend: ReviewBackend, *, users: tuple[User, ...] = USERS, language: str = "en", clock: FakeClock | None = None
) -> Starlette:
    clock = clock or FakeClock(now=1000.0, utc_offset=1_700_000_000.0 - 1000.0)
    access = Access(users, clock=clock)
    app = review_app(backend, access=access, language=language, clock=clock, zone=UTC)
    return Starlette(routes=[Mount("/review", app=app)])


def client_of(app: Starlette) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False, raise_server_exceptions=False)


def form_token(page: str) -> str:
    return page.split('name="token" value="')[1].split('"', maxsplit=1)[0]


def logged_in(client: TestClient, *, name: str) -> TestClient:
    token = form_token(client.get("/review/login").text)
    answer = client.post("/review/login", data={"name": name, "password": PASSWORDS[name], "token": token})
    assert answer.status_code == 303, answer.text
    return client


def page_token(client: TestClient, *, path: str = "/review/") -> str:
    """The form token of whoever is logged in."""
    return form_token(client.get(path).text)


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The address of a real server."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    httpx.get(url, timeout=10, trust_env=False)  # the socket listens, so this waits for the server
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
