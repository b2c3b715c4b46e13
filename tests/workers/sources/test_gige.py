"""A GigE Vision camera: Aravis's simulator on the other end of real packets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from pipeline.errors import BadFrame, SourceError, SourceUnavailable
from pipeline.interfaces import Source
from pipeline.types import SourceFrame
from tests.servers.aravis import ADDRESS, SERIAL, GigeCamera
from workers.clock import SystemClock
from workers.commands.probe import probe
from workers.config.cameras import CameraConfig
from workers.metrics.registry import Metrics
from workers.opening.sources import open_source
from workers.sources import aravis

MAX_READS = 60


@pytest.fixture
def camera() -> Iterator[GigeCamera]:
    with GigeCamera() as one:
        yield one


def opened(**keys: object) -> Source:
    """The source that a configuration with these keys gives, open."""
    clock = SystemClock()
    given = CameraConfig.model_validate({"id": "cap-01", "source": {"type": "gige", "camera": ADDRESS, **keys}})
    source = open_source(given, config=None, clock=clock, metrics=Metrics(clock=clock, version="0"))  # type: ignore[arg-type]
    source.open()
    return source


def read(source: Source) -> SourceFrame:
    for _ in range(MAX_READS):
        frame = source.read()
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


@pytest.mark.parametrize("name", [ADDRESS, SERIAL, f"Aravis-Fake-{SERIAL}", None])
def test_a_camera_is_found_by_address_serial_number_id_or_because_it_is_the_first(
    camera: GigeCamera, name: str | None
) -> None:
    source = opened(camera=name)
    try:
        assert read(source).image.shape == (512, 512, 3)
    finally:
        source.close()


def test_settings_reach_the_camera(camera: GigeCamera) -> None:
    dark = opened(exposure_us=100, region={"width": 256, "height": 128})
    shadows = read(dark).image
    dark.close()
    assert shadows.shape == (128, 256, 3)
    bright = opened(exposure_us=10_000, gain_db=2, frame_rate=50, packet_size=1000, packet_resend=False)
    try:
        n = 25
        read(bright)
        started_at = time.monotonic()
        assert min(read(bright).image.mean() for _ in range(n)) > shadows.mean() + 50
        assert n / (time.monotonic() - started_at) > 30  # it gives 25 per second by itself
    finally:
        bright.close()


@pytest.mark.parametrize("pixel_format", ["BayerRG8", "RGB8"])
def test_the_pixel_format_can_be_chosen(camera: GigeCamera, pixel_format: str) -> None:
    source = opened(pixel_format=pixel_format)
    try:
        assert len({tuple(pixel) for pixel in read(source).image[8:500, 8:500].reshape(-1, 3).tolist()}) > 100
    finally:
        source.close()


def test_the_capture_time_is_the_arrival_of_the_first_packet_by_this_machines_clock(camera: GigeCamera) -> None:
    source = opened()
    try:
        read(source)
        time.sleep(0.1)  # two more wait in the buffers; the newest is taken
        frame = read(source)
        assert frame.capture_time_source == "host"
        assert 0 <= time.time() - frame.captured_at < 0.5
        assert frame.skipped >= 1
    finally:
        source.close()


def test_pictures_that_found_no_buffer_are_counted_by_the_cameras_own_numbers(camera: GigeCamera) -> None:
    source = opened(buffers=2, frame_rate=100)
    try:
        read(source)
        time.sleep(0.5)
        late, next_one = read(source), read(source)
        assert late.skipped == 1  # the older of the two that were kept
        assert next_one.lost >= 30
    finally:
        source.close()


def test_a_numbering_that_begins_again_is_no_loss(camera: GigeCamera) -> None:
    source = opened(buffers=64, frame_rate=200)  # the simulator begins at 65401 of 65535
    try:
        n_seen = n_lost = 0
        while n_seen < 200:
            frame = read(source)
            n_seen += 1 + frame.skipped
            n_lost += frame.lost
        assert n_lost == 0
    finally:
        source.close()


def test_with_a_software_trigger_every_read_takes_its_own_picture(camera: GigeCamera) -> None:
    source = opened(trigger="software")
    try:
        assert not source.live
        for _ in range(3):
            asked_at = time.time()
            frame = read(source)
            assert frame.captured_at >= asked_at - 0.01
            assert frame.skipped == 0
            time.sleep(0.1)  # nothing may be made meanwhile
    finally:
        source.close()


def test_a_software_trigger_keeps_to_the_frame_rate(camera: GigeCamera) -> None:
    source = opened(trigger="software", frame_rate=10)
    try:
        started_at = time.monotonic()
        for _ in range(4):
            read(source)
        assert time.monotonic() - started_at >= 0.29
    finally:
        source.close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"pixel_format": "Mono16"},
            r"camera cap-01 \(gige://127.0.0.1\): pixel format Mono16 is not supported; .*RGB8",
        ),
        ({"pixel_format": "Purple8"}, r"'Purple8' not an entry"),
        ({"exposure_us": 1}, r"exposure_us must be 10 to 1e\+07 for this camera, got 1"),
        ({"gain_db": 90}, r"gain_db must be 0 to 10 for this camera, got 90"),
        (
            {"region": {"x": 2000, "width": 512, "height": 512}},
            r"region reaches to 2512 x 512, but the sensor has 2048",
        ),
        ({"trigger": "Line7"}, r"'Line7' not an entry"),
    ],
)
def test_a_setting_that_the_camera_cannot_take_is_no_reason_to_try_again(
    camera: GigeCamera, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        opened(**keys)
    assert not isinstance(caught.value, SourceUnavailable)


def test_a_camera_that_is_not_there_is_tried_again(camera: GigeCamera) -> None:
    with pytest.raises(SourceUnavailable, match="Device 'absent-01' not found"):
        opened(camera="absent-01")


def test_a_second_program_is_told_that_the_camera_is_taken(camera: GigeCamera) -> None:
    first = opened()
    try:
        with pytest.raises(SourceUnavailable, match="another program controls this camera"):
            opened()
        assert read(first).image.size > 0
    finally:
        first.close()


def test_without_the_library_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis, "LIBRARY", "libaravis-absent.so.0")
    aravis.load_aravis.cache_clear()
    try:
        with pytest.raises(SourceError, match=r"libaravis-absent.so.0.*apt-get install libaravis-0.8-0"):
            opened()
    finally:
        aravis.load_aravis.cache_clear()


def test_an_incomplete_picture_is_never_handed_out_and_its_reason_is_named() -> None:
    with GigeCamera(lost_per_thousand=2):
        source = opened(frozen_ms=0)
        good, bad = 0, []
        try:
            for _ in range(40):
                try:
                    frame = read(source)
                except BadFrame as error:
                    bad.append(error.reason)
                else:
                    good += 1
                    ramp = frame.image[:, :, 0].astype(int)  # the simulator draws a diagonal ramp: no hole may be in it
                    steps = (ramp[1:, :-1] - ramp[:-1, 1:]) % 255
                    assert (steps == 0).all()
        finally:
            source.close()
    assert good > 5
    assert len(bad) > 5
    assert set(bad) <= {"missing_packets", "timeout"}


def test_probe_looks_at_it_like_at_any_other_camera(camera: GigeCamera) -> None:
    app = typer.Typer()
    app.command()(probe)
    done = CliRunner().invoke(app, [f"gige://{SERIAL}", "--seconds", "1"])
    assert done.exit_code == 0, done.output
    assert f"gige://{SERIAL} (camera, aravis, Mono8)" in done.output
    assert "512 x 512" in done.output
