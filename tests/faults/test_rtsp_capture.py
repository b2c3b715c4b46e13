"""Two real cameras on one line: whatever one of them does, the other goes on and every frame is accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.faults.capture_line import BACK_WITHIN_S, FAULTY, HEALTHY, Line, assert_conserved
from tests.servers.mjpeg import MjpegServer
from tests.servers.rtsp import RtspServer
from workers.capture import SourceState


@pytest.fixture
def healthy() -> Iterator[MjpegServer]:
    with MjpegServer(fps=25.0) as server:
        yield server


def test_a_camera_that_refuses_at_start_joins_when_it_comes_and_the_other_never_waits(healthy: MjpegServer) -> None:
    server = RtspServer()
    line = Line({FAULTY: server.url, HEALTHY: healthy.url})
    line.start()
    try:
        line.wait_for(lambda: line.captures[FAULTY].status.n_reconnects >= 3, within_s=6.0)
        line.wait_for_more(HEALTHY, n=10, within_s=3.0)
        assert line.n_delivered[FAULTY] == 0
        assert line.captures[FAULTY].status.state in (SourceState.BACKOFF, SourceState.CONNECTING)
        server.start()
        line.wait_for_more(FAULTY, n=5, within_s=BACK_WITHIN_S)
    finally:
        balances = line.stop()
        server.kill()
    assert_conserved(balances)


@pytest.mark.parametrize("fault", ["dies", "falls silent"])
def test_a_camera_lost_in_mid_stream_comes_back_and_the_other_does_not_notice(fault: str, healthy: MjpegServer) -> None:
    with RtspServer() as server:
        line = Line({FAULTY: server.url, HEALTHY: healthy.url})
        line.start()
        try:
            line.wait_for_more(FAULTY, n=10, within_s=8.0)
            if fault == "dies":
                server.kill()
            else:
                server.silence()
            line.wait_for(lambda: line.captures[FAULTY].status.n_reconnects >= 1, within_s=5.0)
            line.wait_for_more(HEALTHY, n=20, within_s=3.0)
            assert line.captures[FAULTY].status.last_error
            assert line.captures[HEALTHY].status.n_reconnects == 0
            if fault == "dies":
                server.start()
            else:
                server.speak()
            line.wait_for_more(FAULTY, n=5, within_s=BACK_WITHIN_S)
        finally:
            balances = line.stop()
    assert_conserved(balances)
    assert balances[HEALTHY].dead_lettered == {}


def test_cut_jpegs_are_dead_lettered_and_accounted_for(healthy: MjpegServer) -> None:
    healthy.cut = 4
    line = Line({HEALTHY: healthy.url})
    line.start()
    try:
        line.wait_for_more(HEALTHY, n=20, within_s=5.0)
    finally:
        balances = line.stop()
    assert_conserved(balances)
    assert balances[HEALTHY].dead_lettered["cut"] >= 3


def test_the_line_stops_in_bounded_time_while_a_camera_is_silent(healthy: MjpegServer) -> None:
    with RtspServer() as server:
        line = Line({FAULTY: server.url, HEALTHY: healthy.url})
        line.start()
        line.wait_for_more(FAULTY, n=3, within_s=8.0)
        server.silence()
        started_at = time.monotonic()
        balances = line.stop()
        assert time.monotonic() - started_at < 5.0
    assert_conserved(balances)
