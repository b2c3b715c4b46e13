"""A camera that cannot be opened gets a cause that tells what to do."""

from __future__ import annotations

import pytest

from tests.servers.mjpeg import MjpegServer
from tests.servers.ports import free_port
from tests.servers.silent import SilentServer
from workers.sources.diagnose import why_unreachable


def why(url: int | str) -> str:
    return why_unreachable(url, timeout_s=0.3)


def test_a_refused_connection_is_named() -> None:
    assert "Connection refused" in why(f"rtsp://127.0.0.1:{free_port()}/x")


def test_an_unknown_name_is_named() -> None:
    assert "is not known; check the URL or the DNS" in why("rtsp://no-such-camera.invalid/x")


def test_a_server_that_hangs_is_named() -> None:
    with SilentServer() as server:
        assert "takes the connection but does not answer" in why(f"rtsp://127.0.0.1:{server.port}/x")


def test_a_server_of_another_kind_is_named() -> None:
    with MjpegServer() as server:
        assert "not as an RTSP server" in why(f"rtsp://127.0.0.1:{server.port}/x")


@pytest.mark.parametrize("url", ["rtsp://user:secret@cam:notaport/x", "rtsp://user:sec[ret@cam/x", "rtsp:///x"])
def test_a_url_that_cannot_be_parsed_is_said_without_quoting_it(url: str) -> None:
    cause = why(url)
    assert "URL" in cause
    assert "sec" not in cause.replace("special", "")
