"""The status port: /healthz, /readyz, /metrics and /status, served by one thread."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from pipeline.errors import SinkError
from workers.metrics.registry import Metrics

Check = Callable[[], tuple[bool, list[str]]]  # fine or not, and the reasons why not

_MAX_CONNECTIONS = 64  # a scraper, probes and a few people; more is a mistake or an attack
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_USER_INFO = re.compile(rb"://[^/@\s\"]+@")  # a password in a URL, should one have come this far
_PAGES = b"/healthz  alive\n/readyz   takes frames\n/metrics  for Prometheus\n/status   sources, head, encoder\n"


class StatusServer:
    """Answers from plain callables, which its thread calls at each request: they must be quick and may not block."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        metrics: Metrics,
        status: Callable[[], Mapping[str, Any]],
        health: Check,
        ready: Check,
        review: ASGIApp | None = None,
        triggers: ASGIApp | None = None,
    ) -> None:
        """`review` is served under /review, `triggers` under /trigger."""
        self._host = host
        self._port = port
        mounted = {path: app for path, app in (("/review", review), ("/trigger", triggers)) if app is not None}
        self._app = _build_app(metrics=metrics, status=status, health=health, ready=ready, mounted=mounted)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on; where 0 was asked for, known after `start`."""
        return self._port

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Listen, then answer from a thread of its own. Raises SinkError when the port cannot be had."""
        self._socket = _listen(self._host, port=self._port)
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="status-server", daemon=True
        )
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """Answer what is under way, then release the port; may be called twice. Blocks at most `timeout_s`."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout_s)
            self._server.force_exit = self._thread.is_alive()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _listen(host: str, *, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SinkError(f"server.host must be an address of this machine, got {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # or a restart would wait a minute
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise SinkError(_refusal(host, port=port, error=error)) from error
    return listener


def _refusal(host: str, *, port: int, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"port {port} on {host} needs more rights: set server.port to 1024 or above"
    if error.errno is not None and error.strerror and "in use" in error.strerror:
        return f"port {port} on {host} is taken: set server.port to another one, or to 0 for any that is free"
    return f"port {port} on {host} cannot be opened: {error.strerror}; set server.host to an address of this machine"


def _build_app(
    *,
    metrics: Metrics,
    status: Callable[[], Mapping[str, Any]],
    health: Check,
    ready: Check,
    mounted: Mapping[str, ASGIApp],
) -> Starlette:
    async def pages(_: Request) -> Response:
        return Response(_PAGES, media_type="text/plain", headers=_HEADERS)

    async def healthz(_: Request) -> Response:
        return _answer("healthy", check=health)

    async def readyz(_: Request) -> Response:
        return _answer("ready", check=ready)

    async def scrape(request: Request) -> Response:
        body, content_type = metrics.expose(request.headers.get("accept"))
        return Response(body, headers={**_HEADERS, "Content-Type": content_type})

    async def state(_: Request) -> Response:
        return _json(status(), code=200)

    routes = {"/": pages, "/healthz": healthz, "/readyz": readyz, "/metrics": scrape, "/status": state}
    mounts = (Mount(path, app) for path, app in mounted.items())
    return Starlette(routes=[*(Route(path, endpoint) for path, endpoint in routes.items()), *mounts])


def _answer(what: str, *, check: Check) -> Response:
    fine, reasons = check()
    return _json({what: fine, "reasons": reasons}, code=200 if fine else 503)


def _json(body: Mapping[str, Any], *, code: int) -> Response:
    raw = orjson.dumps(body, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    return Response(_USER_INFO.sub(b"://***@", raw), status_code=code, media_type="application/json", headers=_HEADERS)
