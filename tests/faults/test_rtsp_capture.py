"""Two real cameras on one line: whatever one of them does, the other goes on and every frame is accounted for."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, UInt8Array
from tests.servers.mjpeg import MjpegServer
from tests.servers.rtsp import RtspServer
from workers.backoff import Backoff
from workers.capture import Capture, Item, SourceState
from workers.channel import Channel
from workers.clock import SystemClock
from workers.ledger import Counts, Ledger
from workers.sources.camera import CameraSource

BACKOFF_CAP_S = 1.0
BACK_WITHIN_S = BACKOFF_CAP_S + 5.0
FAULTY, HEALTHY = "cap-01", "cap-02"


def cut(image: UInt8Array) -> UInt8Array:
    """The smallest region of interest there is."""
    return np.ascontiguousarray(image[:4, :4, ::-1])


class Line:
    """Capture threads of some cameras, and one thread that delivers what they bring."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.clock = SystemClock()
        self.frames: Channel[Item] = Channel(capacity=4, clock=self.clock)
        self.ledger = Ledger()
        self.n_delivered: Counter[str] = Counter()
        self.failed: list[BaseException] = []
        self.captures = {one: self._capture(one, url=url, clock=self.clock) for one, url in urls.items()}
        self._threads = [self._thread(one.run) for one in self.captures.values()]
        self._threads += [self._thread(self._deliver)]

    def _capture(self, source_id: str, *, url: str, clock: Clock) -> Capture:
        return Capture(
            CameraSource(source_id, url=url, clock=clock, open_timeout_ms=2000, read_timeout_ms=700),
            cuts=lambda _camera: {"full": cut},
            frames=self.frames,
            ledger=self.ledger,
            backoff=Backoff(initial_s=0.1, cap_s=BACKOFF_CAP_S, rng=random.Random(1)),
            clock=clock,
            drop_oldest=True,
            on_state=lambda source_id, state: None,
            on_frame=lambda source_id: None,
        )

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.failed.append(error)
                raise

        return threading.Thread(target=run, daemon=True)

    def _deliver(self) -> None:
        while not self.frames.exhausted:
            for one in self.frames.take(timeout_s=0.2):
                if isinstance(one, DeadLetter):
                    self.ledger.dead_lettered(one.ref, reason=one.reason)
                    continue
                self.ledger.delivered(one.ref)
                self.n_delivered[one.ref.source_id] += 1

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> dict[str, Counts]:
        """Stop in flow order; the balances at the end."""
        for capture in self.captures.values():
            capture.close()
        self.clock.close()
        n_captures = len(self.captures)
        for thread in self._threads[:n_captures]:
            thread.join(timeout=6)
            assert not thread.is_alive(), "a capture thread does not end"
        self.frames.close()
        for thread in self._threads[n_captures:]:
            thread.join(timeout=5)
        return self.ledger.counts()

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> float:
        """Seconds until `condition` holds."""
        started_at = time.monotonic()
        while not condition():
            assert time.monotonic() - started_at < within_s, f"not within {within_s} s"
            assert not self.failed, self.failed
            time.sleep(0.01)
        return time.monotonic() - started_at

    def wait_for_more(self, source_id: str, *, n: int, within_s: float) -> float:
        """Seconds until `n` more frames of the source are delivered."""
        goal = self.n_delivered[source_id] + n
        return self.wait_for(lambda: self.n_delivered[source_id] >= goal, within_s=within_s)


def assert_conserved(balances: dict[str, Counts]) -> None:
    for source_id, counts in balances.items():
        assert counts.error == 0, (source_id, counts)
        assert counts.in_flight == 0, (source_id, counts)
        assert counts.captured > 0, source_id


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
