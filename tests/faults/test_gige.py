"""A GigE Vision stream that loses packets, and a camera that dies: every frame is accounted for, the line goes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from pipeline.interfaces import Clock, Source
from tests.faults.capture_line import BACK_WITHIN_S, FAULTY, HEALTHY, READ_TIMEOUT_MS, Line, assert_conserved
from tests.servers.aravis import ADDRESS, GigeCamera
from tests.servers.mjpeg import MjpegServer
from workers.capture import SourceState
from workers.sources.camera import CameraSource
from workers.sources.gige_reader import GigeReader, GigeSettings

NOTICED_WITHIN_S = 6.0  # the read time-out, and Aravis's retries before it says that a camera does not answer


def gige(source_id: str, clock: Clock) -> Source:
    return CameraSource(
        source_id,
        url=f"gige://{ADDRESS}",
        clock=clock,
        read_timeout_ms=READ_TIMEOUT_MS,
        reader=partial(GigeReader, settings=GigeSettings(camera=ADDRESS)),
    )


@pytest.fixture
def healthy() -> Iterator[MjpegServer]:
    with MjpegServer(fps=25.0) as server:
        yield server


def test_lost_packets_cost_their_pictures_and_every_number_the_camera_gave_is_accounted_for(
    healthy: MjpegServer,
) -> None:
    with GigeCamera(lost_per_thousand=2):
        line = Line({FAULTY: gige, HEALTHY: healthy.url})
        line.start()
        try:
            line.wait_for_more(FAULTY, n=30, within_s=15.0)
        finally:
            balances = line.stop()
    assert_conserved(balances)
    counts = balances[FAULTY]
    assert set(counts.dead_lettered) <= {"missing_packets", "timeout"}
    assert counts.dead_lettered["missing_packets"] >= 5
    assert counts.delivered >= 30
    assert balances[HEALTHY].dead_lettered == {}
    assert line.captures[HEALTHY].status.n_reconnects == 0


def test_a_camera_killed_in_mid_stream_comes_back_and_the_other_does_not_notice(healthy: MjpegServer) -> None:
    with GigeCamera() as camera:
        line = Line({FAULTY: gige, HEALTHY: healthy.url})
        line.start()
        try:
            line.wait_for_more(FAULTY, n=10, within_s=8.0)
            camera.kill()
            line.wait_for(lambda: line.captures[FAULTY].status.n_reconnects >= 1, within_s=NOTICED_WITHIN_S)
            line.wait_for_more(HEALTHY, n=20, within_s=3.0)
            assert "no picture within" in (line.captures[FAULTY].status.last_error or "")
            camera.start()
            line.wait_for_more(FAULTY, n=5, within_s=BACK_WITHIN_S)
            assert line.captures[FAULTY].status.state is SourceState.STREAMING
            assert line.captures[HEALTHY].status.n_reconnects == 0
        finally:
            balances = line.stop()
    assert_conserved(balances)
    assert balances[HEALTHY].dead_lettered == {}


def test_a_camera_back_at_once_is_used_again_within_the_same_time(healthy: MjpegServer) -> None:
    with GigeCamera() as camera:
        line = Line({FAULTY: gige, HEALTHY: healthy.url})
        line.start()
        try:
            line.wait_for_more(FAULTY, n=10, within_s=8.0)
            camera.kill()
            camera.start()
            line.wait_for_more(FAULTY, n=30, within_s=BACK_WITHIN_S)
        finally:
            balances = line.stop()
    assert_conserved(balances)


def test_the_line_stops_in_bounded_time_while_a_camera_is_dead(healthy: MjpegServer) -> None:
    with GigeCamera() as camera:
        line = Line({FAULTY: gige, HEALTHY: healthy.url})
        line.start()
        try:
            line.wait_for_more(FAULTY, n=3, within_s=8.0)
            camera.kill()
        finally:
            balances = line.stop()
    assert_conserved(balances)
