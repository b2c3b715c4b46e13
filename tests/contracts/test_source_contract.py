"""What every Source promises, asked of every Source there is, fakes included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import SourceError, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Clock, Source
from pipeline.simulation.line import SimulatedLine
from pipeline.types import SourceFrame
from tests.fakes import FakeClock, FakeSource
from tests.kafka_lines import LineOptions, topic_source
from tests.kafka_topics import Message, write_topic
from tests.servers.aravis import ADDRESS, GigeCamera
from tests.servers.kafka import KafkaBroker
from tests.servers.mjpeg import MjpegServer
from tests.servers.rtsp import RtspServer
from tests.servers.videos import picture, write_picture, write_video
from workers.clock import SystemClock
from workers.sources.camera import CameraSource
from workers.sources.gige_reader import GigeReader, GigeSettings, gige_url
from workers.sources.replay import ReplaySource
from workers.sources.simulate import SimulateSource

SOURCE_ID = "cap-01"
MAX_NONE_READS = 50
CLOSE_WITHIN_S = 4.0  # a blocked read may last for its time-out, 1 s here, and the machine may be busy
CAPTURE_TIME_SOURCES = {"host", "stream", "file", "simulated"}


@dataclass(frozen=True)
class Subject:
    """A source to be asked, and what is known of it."""

    source: Source
    clock: Clock
    n_frames: int | None = None  # None: it never ends
    blue: bool = True  # its pictures are mostly blue


def fake(_: Path) -> Iterator[Subject]:
    clock = FakeClock()

    def frame(index: int) -> SourceFrame:
        return SourceFrame(picture(index), clock.utc(), "host", clock.monotonic(), position=index)

    yield Subject(FakeSource([frame(index) for index in range(12)], source_id=SOURCE_ID), clock, n_frames=12)


def replay_video(folder: Path) -> Iterator[Subject]:
    clock = FakeClock()
    path = write_video(folder / "belt.mp4", n_frames=12)
    yield Subject(ReplaySource(SOURCE_ID, path=path, clock=clock), clock, n_frames=12)


def replay_video_at_real_time(folder: Path) -> Iterator[Subject]:
    clock = FakeClock()
    path = write_video(folder / "belt.avi", n_frames=12)
    yield Subject(ReplaySource(SOURCE_ID, path=path, clock=clock, speed="real_time"), clock, n_frames=12)


def replay_folder(folder: Path) -> Iterator[Subject]:
    clock = FakeClock()
    for index in range(12):
        write_picture(folder / "ok" / f"{index}.png", index)
    yield Subject(ReplaySource(SOURCE_ID, path=folder, clock=clock, labels="folders"), clock, n_frames=12)


def simulate(_: Path) -> Iterator[Subject]:
    clock = FakeClock()
    line = SimulatedLine(1, width=160, height=120)
    source = SimulateSource(SOURCE_ID, line=line, clock=clock, speed="as_fast", n_frames=12)
    yield Subject(source, clock, n_frames=12, blue=False)


def simulate_at_real_time(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    line = SimulatedLine(1, width=160, height=120, fps=30.0)
    yield Subject(SimulateSource(SOURCE_ID, line=line, clock=clock), clock, blue=False)


def camera_mjpeg(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    with MjpegServer() as server:
        yield Subject(CameraSource(SOURCE_ID, url=server.url, clock=clock, read_timeout_ms=1000), clock)


def camera_mjpeg_by_opencv(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    with MjpegServer() as server:
        source = CameraSource(SOURCE_ID, url=server.url, clock=clock, read_timeout_ms=1000, reader="opencv")
        yield Subject(source, clock)


def camera_rtsp(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    with RtspServer(pattern="blue") as server:
        yield Subject(CameraSource(SOURCE_ID, url=server.url, clock=clock, read_timeout_ms=1000, frozen_ms=0), clock)


def camera_rtsp_by_pyav(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    with RtspServer(pattern="blue") as server:
        source = CameraSource(SOURCE_ID, url=server.url, clock=clock, read_timeout_ms=1000, frozen_ms=0, reader="pyav")
        yield Subject(source, clock)


def camera_gige(_: Path) -> Iterator[Subject]:
    clock = SystemClock()
    with GigeCamera():
        settings = GigeSettings(camera=ADDRESS, pixel_format="BayerBG8")
        source = CameraSource(
            SOURCE_ID,
            url=gige_url(ADDRESS),
            clock=clock,
            read_timeout_ms=1000,
            reader=partial(GigeReader, settings=settings),
        )
        yield Subject(source, clock, blue=False)


def kafka_topic(_: Path, broker: KafkaBroker) -> Iterator[Subject]:
    clock = SystemClock()
    topic = broker.new_topic("frames", n_partitions=2)
    headers = {"captured-at": str(clock.utc()).encode(), "capture-time-source": b"host"}
    pictures = [cv2.imencode(".jpg", picture(index))[1].tobytes() for index in range(12)]
    write_topic(broker.bootstrap, topic, [Message(SOURCE_ID.encode(), one, headers) for one in pictures])
    options = LineOptions(bootstrap=broker.bootstrap, frames=topic, results="", states="", letters="", group=topic)
    source = topic_source(options, clock=clock, source_id=SOURCE_ID)
    yield Subject(source, clock)
    source.settle(timeout_s=5.0)


FINITE: list[Callable[[Path], Iterator[Subject]]] = [
    fake,
    replay_video,
    replay_video_at_real_time,
    replay_folder,
    simulate,
]
SUBJECTS: list[Callable[..., Iterator[Subject]]] = [
    *FINITE,
    simulate_at_real_time,
    camera_mjpeg,
    camera_mjpeg_by_opencv,
    camera_rtsp,
    camera_rtsp_by_pyav,
    camera_gige,
    kafka_topic,
]


@pytest.fixture(params=SUBJECTS, ids=lambda make: make.__name__)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    broker = [request.getfixturevalue("kafka_broker")] if request.param is kafka_topic else []
    made = request.param(tmp_path, *broker)
    one = next(made)
    yield one
    one.source.close()
    next(made, None)


def read_frame(source: Source) -> SourceFrame:
    """The next frame; None only means that the source waits."""
    for _ in range(MAX_NONE_READS):
        frame = source.read()
        if frame is not None:
            return frame
    raise AssertionError(f"no frame in {MAX_NONE_READS} reads")


def read_to_the_end(source: Source) -> int:
    n_frames = 0
    while True:
        try:
            read_frame(source)
        except SourceExhausted:
            return n_frames
        n_frames += 1


def test_it_is_a_source_and_says_its_id(subject: Subject) -> None:
    assert isinstance(subject.source, Source)
    assert subject.source.source_id == SOURCE_ID
    assert isinstance(subject.source.live, bool)


def test_a_read_before_open_asks_for_a_connection(subject: Subject) -> None:
    with pytest.raises(SourceUnavailable):
        subject.source.read()


def test_frames_are_bgr_bytes_and_say_when_they_were_taken(subject: Subject) -> None:
    subject.source.open()
    frames = [read_frame(subject.source) for _ in range(5)]
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        assert frame.image.shape[0] > 0
        assert frame.image.shape[1] >= frame.image.shape[0]  # every one of them is landscape
        assert abs(frame.captured_at - subject.clock.utc()) < 60
        assert frame.capture_time_source in CAPTURE_TIME_SOURCES
        assert frame.skipped >= 0
        if subject.blue:
            blue, _, red = frame.image.reshape(-1, 3).mean(axis=0)
            assert blue > red + 50


def test_time_of_receipt_never_goes_back_and_positions_differ(subject: Subject) -> None:
    subject.source.open()
    frames = [read_frame(subject.source) for _ in range(6)]
    assert all(before.received_at <= after.received_at for before, after in pairwise(frames))
    assert frames[-1].received_at <= subject.clock.monotonic()
    assert len({frame.position for frame in frames}) == len(frames)


@pytest.mark.parametrize("subject", FINITE, ids=lambda make: make.__name__, indirect=True)
def test_a_finite_source_ends_and_stays_ended(subject: Subject) -> None:
    subject.source.open()
    assert read_to_the_end(subject.source) == subject.n_frames
    for _ in range(2):
        with pytest.raises(SourceExhausted):
            subject.source.read()


def test_close_may_come_twice_and_before_open(subject: Subject) -> None:
    subject.source.close()
    subject.source.open()
    read_frame(subject.source)
    subject.source.close()
    subject.source.close()


def test_a_read_after_close_gives_no_frame(subject: Subject) -> None:
    subject.source.open()
    read_frame(subject.source)
    subject.source.close()
    try:
        frame = subject.source.read()
    except SourceError:
        return
    assert frame is None


def test_open_may_follow_close(subject: Subject) -> None:
    subject.source.open()
    read_frame(subject.source)
    subject.source.close()
    subject.source.open()
    assert read_frame(subject.source).image.size > 0


def test_every_frame_may_be_acknowledged_once_in_order(subject: Subject) -> None:
    subject.source.open()
    for frame in [read_frame(subject.source) for _ in range(3)]:
        subject.source.ack(frame.position)


def test_close_from_another_thread_ends_the_reading(subject: Subject) -> None:
    subject.source.open()
    read_frame(subject.source)
    ended: list[BaseException | None] = []

    def read_on() -> None:
        try:
            while subject.source.read() is not None:
                pass
        except SourceError as error:
            ended.append(error)
        else:
            ended.append(None)

    reading = threading.Thread(target=read_on, daemon=True)
    reading.start()
    subject.source.close()
    started_at = time.monotonic()
    reading.join(CLOSE_WITHIN_S)
    assert not reading.is_alive(), f"still reading {time.monotonic() - started_at:.1f} s after close"
    assert len(ended) == 1, "the reading thread died of something else"
