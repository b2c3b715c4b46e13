"""Scripted faults: when they begin, how they grow, and what they do to a picture."""

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.simulation import CLASSES, KINDS, NOVEL_CLASSES, Disturbance, SimulatedLine
from pipeline.simulation.disturbances import disturbed


def line_with(*script: Disturbance, fps: float = 10.0) -> SimulatedLine:
    return SimulatedLine(7, width=192, height=160, fps=fps, disturbances=script)


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image, cv2.CV_32F).std())


def test_a_disturbance_grows_over_its_ramp_and_ends() -> None:
    one = Disturbance("blur", start_s=10, end_s=20, strength=0.8, ramp_s=4)
    assert [one.level_at(t) for t in (9.9, 10, 12, 14, 19.9, 20)] == pytest.approx([0, 0, 0.4, 0.8, 0.8, 0])


def test_frozen_and_dead_know_only_on_and_off() -> None:
    assert Disturbance("dead", start_s=1, strength=0.1).level_at(1) == 1.0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"frozen", "dead"}])
def test_outside_its_time_a_disturbance_changes_nothing(kind: str) -> None:
    script = Disturbance(kind, start_s=1, end_s=2, strength=1.0, ramp_s=0)
    plain, faulty = line_with(), line_with(script)
    for index in (0, 9, 20):
        assert np.array_equal(plain.render(index).image, faulty.render(index).image)
        assert faulty.render(index).disturbances == ()
    changed = [not np.array_equal(plain.render(i).image, faulty.render(i).image) for i in range(10, 20)]
    assert any(changed)
    assert faulty.render(10).disturbances == (kind,)


def test_failing_light_is_darker_the_stronger_it_is() -> None:
    means = [line_with(Disturbance("lighting", strength=s, ramp_s=0)).render(3).image.mean() for s in (0, 0.5, 1)]
    assert means[0] > 1.3 * means[1] > 1.6 * means[2]


def test_blur_takes_detail_away() -> None:
    plain = line_with().render(3).image
    assert detail(line_with(Disturbance("blur", ramp_s=0)).render(3).image) < 0.5 * detail(plain)


def pictures_of_one_scene(kind: str) -> list[np.ndarray]:
    scene = np.full((160, 192, 3), 120, np.uint8)
    cv2.circle(scene, (96, 80), 30, (240, 240, 240), -1)
    script = (Disturbance(kind, strength=1.0, ramp_s=0),)
    return [scene, *(disturbed(scene, script=script, time_s=1.0, seed=(7,), index=index) for index in range(4))]


def test_a_shaking_camera_moves_every_frame_differently() -> None:
    centres = []
    for picture in pictures_of_one_scene("shake"):
        rows, columns = np.nonzero(picture[..., 0] > 180)
        centres.append((round(columns.mean()), round(rows.mean())))
    assert len(set(centres)) == len(centres)


def test_dirt_stays_where_it_is() -> None:
    scene, *dirty = pictures_of_one_scene("dirt")
    assert all(np.array_equal(picture, dirty[0]) for picture in dirty)
    marked = np.abs(dirty[0].astype(int) - scene).max(axis=2) > 10
    assert 0.01 < marked.mean() < 0.6


def test_a_class_mix_changes_what_comes_and_only_while_it_lasts() -> None:
    line = line_with(Disturbance("class_mix", start_s=10, end_s=20, strength=1.0, ramp_s=0, mix={"nut": 1, "gear": 1}))
    assert {line.truth(index) for index in range(100, 200)} == {"nut", "gear"}
    assert len({line.truth(index) for index in range(100)}) > 8


def test_novel_classes_come_as_often_as_the_strength_says() -> None:
    line = line_with(Disturbance("novel", strength=0.3, ramp_s=0))
    novel = [line.truth(index) in NOVEL_CLASSES for index in range(1000)]
    assert sum(novel) / 1000 == pytest.approx(0.3, abs=0.05)


def test_a_frozen_camera_repeats_one_picture_while_the_line_goes_on() -> None:
    line = line_with(Disturbance("frozen", start_s=1, end_s=2))
    frames = [line.render(index) for index in range(10, 20)]
    assert all(np.array_equal(frame.image, frames[0].image) for frame in frames)
    assert [frame.truth for frame in frames] == [line_with().truth(index) for index in range(10, 20)]
    assert not np.array_equal(line.render(20).image, frames[0].image)


def test_a_frozen_picture_keeps_the_light_of_its_moment() -> None:
    line = line_with(Disturbance("frozen", start_s=1), Disturbance("lighting", start_s=1.5, strength=1, ramp_s=0))
    assert np.array_equal(line.render(10).image, line.render(30).image)


def test_a_dead_camera_gives_no_picture_and_says_until_when() -> None:
    line = line_with(Disturbance("dead", start_s=1, end_s=2), Disturbance("dead", start_s=1.5, end_s=3))
    assert line.dead_until(9) is None
    assert line.dead_until(10) == 3.0
    with pytest.raises(SourceUnavailable, match="until 3 s"):
        line.render(10)
    assert line.render(30).image.any()


def test_disturbances_stack() -> None:
    line = line_with(Disturbance("lighting", ramp_s=0), Disturbance("blur", ramp_s=0))
    frame = line.render(0)
    assert frame.disturbances == ("lighting", "blur")
    assert frame.image.mean() < line_with().render(0).image.mean()
    assert detail(frame.image) < detail(line_with(Disturbance("lighting", ramp_s=0)).render(0).image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "fog"}, "must be one of lighting"),
        ({"kind": "blur", "start_s": 5, "end_s": 5}, "must end after it starts"),
        ({"kind": "blur", "strength": 1.5}, "strength must be 0 to 1"),
        ({"kind": "class_mix", "mix": {"sprocket": 1}}, "got sprocket"),
        ({"kind": "blur", "ramp_s": -1}, "ramp must not be negative"),
    ],
)
def test_a_disturbance_that_cannot_be_is_refused_with_the_reason(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Disturbance(**arguments)  # type: ignore[arg-type]


def test_without_a_mix_of_its_own_a_class_mix_brings_defects() -> None:
    line = line_with(Disturbance("class_mix", strength=1.0, ramp_s=0))
    assert {line.truth(index) for index in range(200)} == {
        part for part in CLASSES if part.startswith(("scratched", "dented", "stained", "crooked", "broken"))
    }
