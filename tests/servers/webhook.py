"""A real HTTP server that takes signed batches of events, as a receiver's own would."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[list[dict[str, Any]]], int]  # the status for a batch


class WebhookServer:
    """What it was sent, and whether it was genuine; an event counts as received only with an answer 2xx."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.answer: Answer = lambda _events: 204
        self.events: list[dict[str, Any]] = []
        self.batches: list[int] = []  # events in each request
        self.verdicts: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.clients: set[tuple[str, int]] = set()  # one per connection
        self.closes = False  # after each answer
        self.url = ""

    @property
    def event_ids(self) -> list[str]:
        return [str(event["id"]) for event in self.events]

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Check as a receiver should, in words of its own."""
        stated = headers.get("X-Clearline-Signature", "")
        signed = headers.get("X-Clearline-Timestamp", "").encode() + b"." + body
        own = "v1=" + hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(own, stated)
        self.verdicts.append("genuine" if genuine else "forged")
        self.headers.append(headers)
        if not genuine:
            return 401
        events = json.loads(body)
        self.batches.append(len(events))
        status = self.answer(events)
        self.events += events if 200 <= status < 300 else []
        return status


@contextmanager
def webhook_server(*, secret: str, port: int = 0) -> Iterator[WebhookServer]:
    """Listens on this machine until the block ends."""
    state = WebhookServer(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.paths.append(self.path)
            state.clients.add(self.client_address)
            status = state.take(dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Length", "2" if status != 204 else "0")
            if 300 <= status < 400:
                self.send_header("Location", f"{state.url}/elsewhere")
            self.end_headers()
            self.wfile.write(b"{}" if status != 204 else b"")
            self.close_connection = state.closes  # without saying so, as a receiver does that restarts

        def log_message(self, *_args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
