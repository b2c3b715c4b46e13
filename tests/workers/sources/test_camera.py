"""A camera gives its newest picture, finds cut and frozen ones, and never shows its password."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.errors import BadFrame, ConfigError, SourceError, SourceUnavailable
from tests.conftest import ROOT
from tests.servers.mjpeg import MjpegServer
from tests.servers.ports import free_port
from tests.servers.silent import SilentServer
from workers.clock import SystemClock
from workers.sources.camera import CameraSource


def camera(url: object, **options: object) -> CameraSource:
    defaults = {"clock": SystemClock(), "open_timeout_ms": 1000, "read_timeout_ms": 500}
    return CameraSource("cap-01", url=url, **{**defaults, **options})  # type: ignore[arg-type]


def read_until_lost(source: CameraSource) -> str:
    """Read on, over broken pictures, until the camera counts as lost; the cause."""
    for _ in range(200):
        try:
            source.read()
        except BadFrame:
            continue
        except SourceUnavailable as error:
            return str(error)
    raise AssertionError("200 reads, and the camera was never lost")


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(fps=50.0) as one:
        yield one


def test_pictures_of_an_mjpeg_camera_carry_their_jpeg(server: MjpegServer) -> None:
    source = camera(server.url)
    source.open()
    frame = source.read()
    source.close()
    assert frame is not None
    assert frame.evidence is not None
    assert frame.evidence.endswith(b"\xff\xd9")
    assert source.live


def test_an_mjpeg_camera_without_content_length_works(server: MjpegServer) -> None:
    server.with_length = False
    source = camera(server.url)
    source.open()
    assert all(source.read() is not None for _ in range(3))
    source.close()


def test_stale_pictures_are_passed_over_and_counted(server: MjpegServer) -> None:
    source = camera(server.url)
    source.open()
    assert source.read() is not None
    waiting_for = server.n_sent + 12
    while server.n_sent < waiting_for:
        threading.Event().wait(0.01)  # the real camera needs real time
    frame = source.read()
    source.close()
    assert frame is not None
    assert 5 <= frame.skipped <= 20


def test_a_cut_jpeg_is_a_bad_frame_with_its_bytes_and_the_stream_goes_on(server: MjpegServer) -> None:
    server.cut = 3
    source = camera(server.url)
    source.open()
    n_good, bad = 0, []
    for _ in range(12):
        try:
            n_good += source.read() is not None
        except BadFrame as error:
            bad.append(error)
    source.close()
    assert n_good >= 6
    assert len(bad) >= 2
    assert all(one.reason == "cut" and one.original.startswith(b"\xff\xd8\xff") for one in bad)


def test_nothing_but_cut_jpegs_is_a_lost_camera(server: MjpegServer) -> None:
    server.cut = 1
    source = camera(server.url, stall_ms=300)
    source.open()
    assert "no usable one" in read_until_lost(source)


def test_a_frozen_picture_is_a_lost_camera(server: MjpegServer) -> None:
    source = camera(server.url, frozen_ms=300)
    source.open()
    assert all(source.read() is not None for _ in range(5))
    server.still = True
    assert "same one to the bit" in read_until_lost(source)


def test_a_camera_that_falls_silent_is_lost_after_the_read_timeout(server: MjpegServer) -> None:
    source = camera(server.url)
    source.open()
    assert source.read() is not None
    server.silent.set()
    started_at = time.monotonic()
    assert "no answer in time" in read_until_lost(source)
    assert time.monotonic() - started_at < 2.0


def test_close_wakes_a_blocked_mjpeg_read_at_once(server: MjpegServer) -> None:
    source = camera(server.url, read_timeout_ms=30_000)
    source.open()
    assert source.read() is not None
    server.silent.set()
    got: list[object] = []

    def read_to_the_end() -> None:
        while (frame := source.read()) is not None:
            got.append(frame)

    reading = threading.Thread(target=read_to_the_end, daemon=True)
    reading.start()
    reading.join(0.5)
    assert reading.is_alive()
    source.close()
    reading.join(2.0)
    assert not reading.is_alive()


def test_user_and_password_are_sent_and_asked_for() -> None:
    with MjpegServer(password="p@ss/word") as server:
        address = server.url.removeprefix("http://")
        right = camera(f"http://user:p%40ss%2Fword@{address}")
        right.open()
        assert right.read() is not None
        right.close()
        with pytest.raises(SourceUnavailable, match="user and password are missing or refused") as caught:
            camera(f"http://user:secret@{address}").open()
    assert "secret" not in str(caught.value)


def test_a_path_that_is_no_stream_is_said(server: MjpegServer) -> None:
    with pytest.raises(SourceUnavailable, match="the camera answers 404"):
        camera(server.url.replace("/video", "/nothing")).open()


def test_the_url_may_be_a_function_that_is_asked_at_each_connection(server: MjpegServer) -> None:
    urls = [f"http://127.0.0.1:{free_port()}/video", server.url]
    source = camera(lambda: urls.pop(0))
    with pytest.raises(SourceUnavailable):
        source.open()
    source.open()
    assert source.read() is not None
    source.close()


@pytest.mark.parametrize("reader", ["opencv", "pyav"])
def test_a_silent_rtsp_server_is_given_up_within_the_open_timeout_and_a_margin(reader: str) -> None:
    with SilentServer() as silent:
        started_at = time.monotonic()
        with pytest.raises(SourceUnavailable, match="takes the connection but does not answer"):
            camera(f"rtsp://user:secret@127.0.0.1:{silent.port}/x", reader=reader).open()
    assert time.monotonic() - started_at < 1.0 + 1.0 + 2.0  # open, diagnosis, a busy machine


def test_a_silent_http_server_is_given_up_within_the_open_timeout() -> None:
    with SilentServer() as silent:
        started_at = time.monotonic()
        with pytest.raises(SourceUnavailable, match="no answer in time"):
            camera(f"http://127.0.0.1:{silent.port}/video").open()
    assert time.monotonic() - started_at < 2.5


def test_a_local_camera_that_is_not_there_is_said_and_may_come_later() -> None:
    for url in (63, "63", "/dev/video63"):
        with pytest.raises(SourceUnavailable, match=r"/dev/video63 does not exist"):
            camera(url).open()


@pytest.mark.parametrize("url", ["gopher://cam/1", "belt.mp4", "user:secret@cam/live"])
def test_an_address_of_an_unknown_kind_is_refused_for_good(url: str) -> None:
    with pytest.raises(SourceError, match="expected rtsp://") as caught:
        camera(url).open()
    assert not isinstance(caught.value, SourceUnavailable)
    assert "secret" not in str(caught.value)


def test_timeouts_of_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match="above 0 ms"):
        camera("rtsp://cam/1", read_timeout_ms=0)


SHOW_EVERYTHING = """
import sys, traceback
from workers.clock import SystemClock
from workers.sources.camera import CameraSource
source = CameraSource("c", url=sys.argv[1], clock=SystemClock(), reader=sys.argv[2], open_timeout_ms=1000)
try:
    source.open()
except Exception:
    traceback.print_exc()
print(source, repr(source), vars(source).get("_reader"))
"""


@pytest.mark.parametrize("reader", ["opencv", "pyav", "mjpeg"])
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_no_password_reaches_stderr_a_traceback_or_the_log_of_ffmpeg(reader: str, scheme: str) -> None:
    url = f"{scheme}://user:secret@127.0.0.1:{free_port()}/x"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW_EVERYTHING, url, reader],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    shown = done.stdout + done.stderr
    assert "SourceUnavailable" in shown
    assert "user:***@127.0.0.1" in shown
    assert "secret" not in shown
