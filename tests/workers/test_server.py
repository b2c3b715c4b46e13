"""The status port, asked over real HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.errors import SinkError
from tests.fakes import FakeClock
from workers.metrics.registry import Metrics
from workers.server import StatusServer


class Line:
    """What the server asks about."""

    def __init__(self) -> None:
        self.health_reasons: list[str] = []
        self.ready_reasons: list[str] = ["encoder: golden batch not run yet"]
        self.status: Callable[[], dict[str, Any]] = lambda: {"sources": {"cap-01": {"state": "streaming"}}}

    def server(self, *, port: int = 0, host: str = "127.0.0.1") -> StatusServer:
        return StatusServer(
            host=host,
            port=port,
            metrics=Metrics(clock=FakeClock(), version="0.1.0"),
            status=lambda: dict(self.status()),
            health=lambda: (not self.health_reasons, self.health_reasons),
            ready=lambda: (not self.ready_reasons, self.ready_reasons),
        )


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def server(line: Line) -> Iterator[StatusServer]:
    server = line.server()
    server.start()
    yield server
    server.stop(timeout_s=5)


def _get(server: StatusServer, path: str, **headers: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=headers, timeout=10, trust_env=False)


def test_healthz_is_200_until_a_worker_has_died(server: StatusServer, line: Line) -> None:
    assert _get(server, "/healthz").status_code == 200
    line.health_reasons = ["worker inference died: ValueError"]
    answer = _get(server, "/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"healthy": False, "reasons": ["worker inference died: ValueError"]}


def test_readyz_is_503_with_the_reasons_until_ready(server: StatusServer, line: Line) -> None:
    answer = _get(server, "/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["encoder: golden batch not run yet"]
    line.ready_reasons = []
    assert _get(server, "/readyz").status_code == 200


def test_metrics_come_as_text_and_as_openmetrics(server: StatusServer) -> None:
    text = _get(server, "/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    assert "clearline_build_info" in text.text
    asked = _get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


def test_status_is_json_also_with_numpy_values(server: StatusServer, line: Line) -> None:
    line.status = lambda: {"fps": np.float32(12.5), "sizes": np.array([1, 2])}
    answer = _get(server, "/status")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"fps": 12.5, "sizes": [1, 2]}


def test_status_shows_no_password_even_if_one_came_this_far(server: StatusServer, line: Line) -> None:
    line.status = lambda: {"error": "cannot open rtsp://user:hunter2@10.0.0.7/1"}
    answer = _get(server, "/status")
    assert "hunter2" not in answer.text
    assert answer.json() == {"error": "cannot open rtsp://***@10.0.0.7/1"}


def test_a_status_that_fails_is_a_500_and_the_server_goes_on(server: StatusServer, line: Line) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("bug")

    line.status = broken
    assert _get(server, "/status").status_code == 500
    assert _get(server, "/healthz").status_code == 200


def test_an_unknown_page_is_404_and_the_root_names_the_pages(server: StatusServer) -> None:
    assert _get(server, "/nothing").status_code == 404
    assert "/readyz" in _get(server, "/").text


def test_nothing_may_be_posted(server: StatusServer) -> None:
    assert httpx.post(server.url + "/status", timeout=10, trust_env=False).status_code == 405


def test_it_listens_where_it_was_told_and_nowhere_else(server: StatusServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server._socket is not None
    assert server._socket.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_a_clear_error_with_exit_code_6(server: StatusServer, line: Line) -> None:
    with pytest.raises(SinkError, match=rf"port {server.port} on 127.0.0.1 is taken: set server.port") as caught:
        line.server(port=server.port).start()
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_a_clear_error(line: Line, host: str) -> None:
    with pytest.raises(SinkError, match=r"server\.host"):
        line.server(host=host).start()


def test_after_stop_the_port_is_free_again_and_stop_may_be_repeated(line: Line) -> None:
    server = line.server()
    server.start()
    port = server.port
    assert _get(server, "/healthz").status_code == 200
    server.stop(timeout_s=5)
    server.stop(timeout_s=5)
    again = line.server(port=port)
    again.start()
    assert _get(again, "/healthz").status_code == 200
    again.stop(timeout_s=5)


def test_stop_does_not_wait_for_a_client_that_says_nothing(line: Line) -> None:
    server = line.server()
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as silent:
        silent.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert _get(server, "/healthz").status_code == 200
        server.stop(timeout_s=5)
        assert server._thread is not None
        assert not server._thread.is_alive()


def test_stop_before_start_does_nothing(line: Line) -> None:
    line.server().stop(timeout_s=1)
