"""The simulated line: repeatable, complete, and visible at the encoder's side."""

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.simulation import CLASSES, LOOK_ALIKES, NOVEL_CLASSES, SimulatedLine
from pipeline.simulation.line import draw_scene
from pipeline.simulation.parts import EMPTY
from pipeline.simulation.render import render_scene
from pipeline.simulation.style import build_stage

SMALL = {"width": 192, "height": 160}


def test_the_same_seed_and_index_give_the_same_pixels_in_any_order() -> None:
    first, second = SimulatedLine(7, **SMALL), SimulatedLine(7, **SMALL)
    forward = [first.render(index).image for index in range(6)]
    backward = [second.render(index).image for index in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_another_seed_is_another_line() -> None:
    assert SimulatedLine(7, **SMALL).style != SimulatedLine(8, **SMALL).style
    assert not np.array_equal(SimulatedLine(7, **SMALL).render(0).image, SimulatedLine(8, **SMALL).render(0).image)


def test_no_two_frames_of_a_line_are_equal() -> None:
    line = SimulatedLine(7, weights={"gear": 1.0}, **SMALL)
    assert not np.array_equal(line.render(0).image, line.render(1).image)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (320, 240), (240, 320), (1280, 720)])
def test_a_frame_has_the_size_asked_for(width: int, height: int) -> None:
    image = SimulatedLine(3, width=width, height=height).render(0).image
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_a_frame_belongs_to_its_caller() -> None:
    line = SimulatedLine(7, **SMALL)
    kept = line.render(4).image.copy()
    line.render(4).image[:] = 0
    assert np.array_equal(line.render(4).image, kept)


def test_the_usual_mix_brings_every_class_and_none_that_no_model_has_seen() -> None:
    line = SimulatedLine(7, **SMALL)
    assert {line.truth(index) for index in range(400)} == set(CLASSES)
    assert not set(CLASSES) & set(NOVEL_CLASSES)


def test_the_shares_of_the_classes_are_those_asked_for() -> None:
    line = SimulatedLine(7, weights={"gear": 3.0, "nut": 1.0, "washer": 0.0}, **SMALL)
    drawn = [line.truth(index) for index in range(800)]
    assert set(drawn) == {"gear", "nut"}
    assert drawn.count("gear") / 800 == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("part", [part for part in (*CLASSES, *NOVEL_CLASSES) if part != EMPTY])
def test_every_part_fills_a_good_share_of_the_centred_square(part: str) -> None:
    stage = build_stage(20_000, width=192, height=192)
    with_part = render_scene(draw_scene(part, seed=(5,), index=3), stage=stage).astype(int)
    without = render_scene(draw_scene(EMPTY, seed=(5,), index=3), stage=stage).astype(int)
    changed = (np.abs(with_part - without).max(axis=2) > 20).mean()
    assert 0.06 < changed < 0.75


@pytest.mark.parametrize(("one", "other"), LOOK_ALIKES)
def test_look_alikes_differ_where_the_encoder_can_see_it(one: str, other: str) -> None:
    stage = build_stage(20_001, width=384, height=384)
    shrunk = [
        cv2.resize(
            render_scene(draw_scene(part, seed=(9,), index=2), stage=stage), (96, 96), interpolation=cv2.INTER_AREA
        ).astype(int)
        for part in (one, other)
    ]
    differing = (np.abs(shrunk[0] - shrunk[1]).max(axis=2) > 25).sum()
    assert differing >= 12, f"{one} and {other} differ in {differing} of 9216 pixels"


def test_samples_are_undisturbed_pictures_of_one_class_that_the_line_itself_never_shows() -> None:
    line = SimulatedLine(7, weights={"nut": 1.0}, **SMALL)
    sample = line.sample("nut", number=0)
    assert (sample.truth, sample.disturbances) == ("nut", ())
    assert not any(np.array_equal(sample.image, line.render(index).image) for index in range(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames_per_part": 0}, "frames_per_part must be 1 or more, got 0"),
        ({"width": 32}, "at least 64 pixels"),
        ({"fps": 0.0}, "fps must be above 0"),
        ({"weights": {"sprocket": 1.0}}, "got sprocket"),
        ({"weights": {"gear": 0.0}}, "not all 0"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_the_reason(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimulatedLine(7, **{**SMALL, **arguments})  # type: ignore[arg-type]


def test_several_pictures_of_a_part_show_the_same_part_elsewhere_in_other_light() -> None:
    line = SimulatedLine(7, frames_per_part=3, **SMALL)
    assert [line.render(index).part for index in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    for part in range(20):
        views = range(3 * part, 3 * part + 3)
        assert len({line.truth(index) for index in views}) == 1
        scenes = [line.scene(index) for index in views]
        assert len({scene.seed for scene in scenes}) == 1
        assert scenes[0].centre[0] < scenes[1].centre[0] < scenes[2].centre[0]
        assert len({scene.gain for scene in scenes}) == 3
    assert len({line.render(index).image.tobytes() for index in range(3)}) == 3


def test_a_line_with_one_picture_of_each_part_names_no_part_and_is_the_line_it_was() -> None:
    alone, several = SimulatedLine(7, **SMALL), SimulatedLine(7, frames_per_part=3, **SMALL)
    assert alone.render(0).part is None
    assert [alone.truth(part) for part in range(20)] == [several.truth(3 * part) for part in range(20)]
