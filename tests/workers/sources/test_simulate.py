"""The simulated source: paced by the clock it is given, truthful, and faulty where its script says so."""

import numpy as np
import pytest

from pipeline.errors import ConfigError, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Source
from pipeline.simulation import Disturbance, SimulatedLine
from pipeline.types import SourceFrame
from tests.fakes import FakeClock
from workers.sources.simulate import MAX_LATE_S, READ_TIMEOUT_S, SimulateSource


def source(
    *script: Disturbance, fps: float = 10.0, speed: str = "as_fast", n_frames: int | None = None
) -> tuple[SimulateSource, FakeClock, SimulatedLine]:
    clock = FakeClock()
    line = SimulatedLine(7, width=96, height=80, fps=fps, disturbances=script)
    made = SimulateSource("cap-01", line=line, clock=clock, speed=speed, n_frames=n_frames)  # type: ignore[arg-type]
    return made, clock, line


def taken(one: SimulateSource) -> SourceFrame:
    frame = one.read()
    assert frame is not None
    return frame


def test_it_is_a_source() -> None:
    one, _, _ = source()
    assert isinstance(one, Source)


def test_frames_carry_the_truth_and_the_pixels_of_the_line() -> None:
    one, clock, line = source(Disturbance("blur", ramp_s=0))
    one.open()
    for index in range(3):
        frame = taken(one)
        assert np.array_equal(frame.image, line.render(index).image)
        assert (frame.truth, frame.disturbances, frame.position) == (line.truth(index), ("blur",), index)
        assert (frame.capture_time_source, frame.captured_at) == ("simulated", clock.utc())


def test_as_fast_never_waits() -> None:
    one, clock, _ = source()
    one.open()
    for _ in range(20):
        taken(one)
    assert clock.waits == []
    assert not one.live


def test_real_time_waits_for_each_frame_by_the_clock() -> None:
    one, clock, _ = source(speed="real_time")
    one.open()
    began_at = clock.now
    moments = [taken(one).received_at - began_at for _ in range(5)]
    assert moments == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert one.live


def test_a_slow_line_gives_none_until_the_frame_is_due() -> None:
    one, clock, _ = source(speed="real_time", fps=0.8)
    one.open()
    taken(one)
    assert one.read() is None
    assert clock.waits[-1] == READ_TIMEOUT_S
    assert one.read() is None
    assert taken(one).position == 1


def test_a_late_reader_gets_the_present_frame_and_is_told_how_many_passed() -> None:
    one, clock, _ = source(speed="real_time")
    one.open()
    taken(one)
    clock.advance(MAX_LATE_S + 2.0)
    late = taken(one)
    assert late.position == 25
    assert late.skipped == 24


def test_a_reader_a_little_late_loses_nothing() -> None:
    one, clock, _ = source(speed="real_time")
    one.open()
    taken(one)
    clock.advance(MAX_LATE_S - 0.1)
    assert [taken(one).position for _ in range(3)] == [1, 2, 3]


def test_a_dead_camera_is_lost_and_refuses_to_open_until_its_time() -> None:
    one, clock, _ = source(Disturbance("dead", start_s=0.2, end_s=5.0), speed="real_time")
    one.open()
    assert [taken(one).position for _ in range(2)] == [0, 1]
    with pytest.raises(SourceUnavailable, match="until 5 s"):
        one.read()
    one.close()
    clock.advance(2.0)
    with pytest.raises(SourceUnavailable):
        one.open()
    clock.advance(3.0)
    one.open()
    assert taken(one).position >= 50


def test_as_fast_a_dead_camera_is_lost_once_and_found_again_where_it_comes_back() -> None:
    one, _, _ = source(Disturbance("dead", start_s=0.2, end_s=5.0))
    one.open()
    positions = [taken(one).position for _ in range(2)]
    with pytest.raises(SourceUnavailable):
        one.read()
    one.close()
    one.open()
    assert [*positions, taken(one).position] == [0, 1, 50]


def test_a_frozen_camera_gives_the_same_pixels_again() -> None:
    one, _, _ = source(Disturbance("frozen", start_s=0.0))
    one.open()
    first, second = taken(one), taken(one)
    assert np.array_equal(first.image, second.image)
    assert first.position != second.position


def test_after_its_last_frame_it_is_exhausted() -> None:
    one, _, _ = source(n_frames=2)
    one.open()
    taken(one), taken(one)
    for _ in range(2):
        with pytest.raises(SourceExhausted, match="all 2 frames"):
            one.read()


def test_a_camera_that_dies_for_good_still_ends() -> None:
    one, _, _ = source(Disturbance("dead", start_s=0.2), n_frames=10)
    one.open()
    taken(one), taken(one)
    with pytest.raises(SourceUnavailable, match="for good"):
        one.read()
    one.close()
    one.open()
    with pytest.raises(SourceExhausted):
        one.read()


def test_in_real_time_a_camera_that_dies_for_good_ends_with_the_recording() -> None:
    one, clock, _ = source(Disturbance("dead", start_s=0.2), n_frames=10, speed="real_time")
    one.open()
    taken(one), taken(one)
    with pytest.raises(SourceUnavailable):
        one.read()
    clock.advance(10.0)
    one.close()
    one.open()
    with pytest.raises(SourceExhausted):
        one.read()


def test_a_closed_source_refuses_to_read_and_goes_on_when_opened_again() -> None:
    one, _, _ = source()
    with pytest.raises(SourceUnavailable, match="call open first"):
        one.read()
    one.open()
    taken(one)
    one.close()
    one.close()
    with pytest.raises(SourceUnavailable):
        one.read()
    one.open()
    assert taken(one).position == 1


def test_a_closing_clock_ends_a_waiting_read_without_a_frame() -> None:
    one, clock, _ = source(speed="real_time")
    one.open()
    taken(one)
    clock.wait = lambda seconds: True  # type: ignore[method-assign]
    assert one.read() is None


def test_a_source_of_no_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_frames must be 1 or more"):
        source(n_frames=0)


def test_pictures_of_one_part_carry_its_id() -> None:
    line = SimulatedLine(7, width=96, height=80, frames_per_part=2)
    source = SimulateSource("cap-01", line=line, clock=FakeClock(), speed="as_fast", n_frames=4)
    source.open()
    taken = [source.read() for _ in range(4)]
    assert [one.part for one in taken if one is not None] == ["0", "0", "1", "1"]
