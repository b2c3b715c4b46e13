"""A real RTSP camera refuses, dies, falls silent and comes back; the Source says so in time and with its cause."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.errors import BadFrame, SourceUnavailable
from tests.servers.ports import free_port
from tests.servers.rtsp import RtspServer
from tests.servers.videos import write_video
from workers.clock import SystemClock
from workers.sources.camera import CameraSource

OPEN_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 1.0
MARGIN_S = 2.5  # two busy cores and the diagnosis
READERS = pytest.mark.parametrize("reader", ["opencv", "pyav"])


def camera(url: str, **options: object) -> CameraSource:
    defaults = {
        "clock": SystemClock(),
        "open_timeout_ms": int(OPEN_TIMEOUT_S * 1e3),
        "read_timeout_ms": int(READ_TIMEOUT_S * 1e3),
    }
    return CameraSource("cap-01", url=url, **{**defaults, **options})  # type: ignore[arg-type]


def read_frames(source: CameraSource, *, n: int) -> None:
    for _ in range(n):
        assert source.read() is not None


def seconds_until_lost(source: CameraSource) -> float:
    """Read on until the camera counts as lost."""
    started_at = time.monotonic()
    while time.monotonic() - started_at < 20:
        try:
            source.read()
        except BadFrame:
            continue
        except SourceUnavailable:
            return time.monotonic() - started_at
    raise AssertionError("a camera that sends nothing was not noticed within 20 s")


@READERS
def test_a_camera_that_refuses_at_start_is_said_at_once(reader: str) -> None:
    started_at = time.monotonic()
    with pytest.raises(SourceUnavailable, match="Connection refused") as caught:
        camera(f"rtsp://user:secret@127.0.0.1:{free_port()}/x", reader=reader).open()
    assert time.monotonic() - started_at < OPEN_TIMEOUT_S + MARGIN_S
    assert "secret" not in str(caught.value)


@READERS
def test_a_camera_that_dies_in_mid_stream_is_noticed(reader: str) -> None:
    with RtspServer() as server:
        source = camera(server.url, reader=reader)
        source.open()
        read_frames(source, n=5)
        server.kill()
        assert seconds_until_lost(source) < 3 * READ_TIMEOUT_S
        source.close()


@READERS
def test_a_camera_that_falls_silent_is_noticed(reader: str) -> None:
    with RtspServer() as server:
        source = camera(server.url, reader=reader)
        source.open()
        read_frames(source, n=5)
        server.silence()
        assert seconds_until_lost(source) < 1.8 * READ_TIMEOUT_S  # a second time-out would mean reading leftovers
        source.close()


@READERS
def test_a_camera_that_comes_back_gives_frames_again(reader: str) -> None:
    with RtspServer() as server:
        source = camera(server.url, reader=reader)
        source.open()
        read_frames(source, n=3)
        server.kill()
        seconds_until_lost(source)
        with pytest.raises(SourceUnavailable):
            source.open()
        server.start()
        source.open()
        read_frames(source, n=3)
        source.close()


def test_pictures_that_queued_up_while_nobody_read_are_passed_over_and_counted() -> None:
    with RtspServer() as server:
        source = camera(server.url)
        source.open()
        read_frames(source, n=5)
        time.sleep(1.0)  # the real camera goes on at 25 per second
        late = source.read()
        next_one = source.read()
        source.close()
    assert late is not None
    assert next_one is not None
    assert 15 <= late.skipped <= 35
    assert next_one.skipped <= 2


def test_a_frozen_rtsp_picture_is_a_lost_camera_and_the_limit_can_be_turned_off() -> None:
    with RtspServer(pattern="blue") as server:
        frozen = camera(server.url, frozen_ms=500)
        frozen.open()
        assert 0.3 < seconds_until_lost(frozen) < 3.0
        frozen.close()
        still = camera(server.url, frozen_ms=0)
        still.open()
        read_frames(still, n=25)
        still.close()


@READERS
def test_user_and_password_open_the_stream_and_a_wrong_one_is_said_without_it(reader: str) -> None:
    with RtspServer(password="sesame") as server:
        source = camera(server.url.replace("//", "//user:sesame@"), reader=reader)
        source.open()
        read_frames(source, n=2)
        source.close()
        with pytest.raises(SourceUnavailable, match="asks for a user and password") as caught:
            camera(server.url.replace("//", "//user:secret@"), reader=reader).open()
    assert "secret" not in str(caught.value)


def test_a_wrong_path_is_said() -> None:
    with RtspServer() as server, pytest.raises(SourceUnavailable, match="no such stream; check the path"):
        camera(server.url + "yz").open()


def test_a_recording_served_by_rtsp_ends_as_a_lost_camera(tmp_path: Path) -> None:
    video = write_video(tmp_path / "belt.avi", n_frames=60, fps=20.0)  # GStreamer alone decodes MJPEG
    with RtspServer(file=str(video)) as server:
        source = camera(server.url)
        source.open()
        read_frames(source, n=2)
        assert seconds_until_lost(source) < 3.0 + 3 * READ_TIMEOUT_S + MARGIN_S
        source.close()


def test_a_real_recording_is_read_over_rtsp(shared_data: Path) -> None:
    with RtspServer(file=str(shared_data / "line-videos" / "bottle-detection.mp4")) as server:
        source = camera(server.url)
        source.open()
        frame = source.read()
        source.close()
    assert frame is not None
    assert frame.image.shape == (360, 640, 3)


def test_udp_is_read_where_it_is_asked_for() -> None:
    with RtspServer() as server:
        source = camera(server.url, transport="udp")
        source.open()
        read_frames(source, n=3)
        assert source.info is not None
        assert source.info.reader == "pyav"
        source.close()
