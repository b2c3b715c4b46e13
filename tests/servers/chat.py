"""A real HTTP server that speaks chat completions, for the tests of the text generator."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ChatServer:
    """Answers each request with the next of `replies`, the last one again and again; keeps what it was asked."""

    def __init__(self, replies: list[str | int | bytes]) -> None:
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.base_url = ""

    def reply(self) -> tuple[int, bytes]:
        """A text is wrapped as an answer, a number is a status, bytes go out as they are."""
        said = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(said, int):
            return said, b"{}"
        if isinstance(said, bytes):
            return 200, said
        content = {"choices": [{"message": {"role": "assistant", "content": said}}]}
        return 200, json.dumps(content).encode()


@contextmanager
def chat_server(replies: list[str | int | bytes]) -> Iterator[ChatServer]:
    """Listens on a free port of this machine until the block ends."""
    state = ChatServer(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.paths.append(self.path)
            state.requests.append(json.loads(body))
            state.keys.append(self.headers["Authorization"])
            status, content = state.reply()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if 300 <= status < 400:
                self.send_header("Location", f"{state.base_url}/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            """Where a client that follows a redirect would end."""
            state.paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5.0)
