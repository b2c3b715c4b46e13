"""`clearline simulate`: what it writes is what the line shows, and what it refuses it explains."""

import csv
import json
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline.errors import ConfigError, SinkError
from pipeline.simulation import CLASSES, NOVEL_CLASSES, SimulatedLine
from workers.commands.simulate import parse_disturbance, simulate

SIZE = ["--size", "96x80"]


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(simulate)
    return CliRunner().invoke(app, [*SIZE, *arguments])


def test_a_video_holds_every_frame_but_those_of_a_dead_camera(tmp_path: Path) -> None:
    out = tmp_path / "new" / "line.mp4"
    result = run("--out", str(out), "--seconds", "2", "--fps", "10", "--disturb", "dead:1-1.5", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"out": str(out), "frames": 15, "dead": 5}
    video = cv2.VideoCapture(str(out))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 15
    assert video.read()[1].shape == (80, 96, 3)


def test_the_csv_says_what_lay_under_the_camera(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    arguments = ["--seconds", "1", "--fps", "10", "--seed", "9", "--disturb", "blur:0.5-0.9", "--disturb", "dead:0.9-"]
    assert run("--out", str(tmp_path / "frames"), "--labels", str(labels), *arguments).exit_code == 0
    with labels.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    line = SimulatedLine(9, width=96, height=80, fps=10)
    assert [row["truth"] for row in rows] == [line.truth(index) for index in range(10)]
    assert [row["disturbances"] for row in rows] == [""] * 6 + ["blur"] * 3 + ["dead"]
    assert [row["file"] for row in rows] == [f"{index:06d}.jpg" for index in range(9)] + [""]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [row["file"] for row in rows[:9]]


def test_images_come_in_a_folder_per_class(tmp_path: Path) -> None:
    assert run("--images", str(tmp_path), "--per-class", "2").exit_code == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(CLASSES)
    assert all(len(list(folder.glob("*.jpg"))) == 2 for folder in tmp_path.iterdir())


def test_novel_classes_are_rendered_only_when_asked_for(tmp_path: Path) -> None:
    assert run("--images", str(tmp_path), "--per-class", "1", "--novel").exit_code == 0
    assert {folder.name for folder in tmp_path.iterdir()} == {*CLASSES, *NOVEL_CLASSES}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("--out", str(tmp_path / name), "--seconds", "0.3", "--fps", "10").exit_code == 0
    one, other = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b"))
    assert one == other
    assert len(one) == 3


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "expected one of --out", ConfigError.exit_code),
        (["--out", "x.mp4", "--images", "y"], "expected one of --out", ConfigError.exit_code),
        (["--out", "x", "--size", "640"], "--size must be WIDTHxHEIGHT", ConfigError.exit_code),
        (["--out", "x", "--disturb", "blur"], "--disturb must be KIND:START-[END]", ConfigError.exit_code),
        (["--out", "x", "--disturb", "blur:1..2-3"], "must be numbers", ConfigError.exit_code),
        (["--out", "x", "--disturb", "fog:1-2"], "must be one of lighting", ConfigError.exit_code),
        (["--out", "x.gif"], "--out must be a folder or end in", ConfigError.exit_code),
    ],
)
def test_what_cannot_be_done_is_explained(arguments: list[str], message: str, code: int) -> None:
    result = run(*arguments)
    assert message in result.stderr
    assert result.exit_code == code


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("--out", str(tmp_path / "file" / "frames"))
    assert str(tmp_path / "file" / "frames") in result.stderr.replace("\n", "")
    assert result.exit_code == SinkError.exit_code


def test_a_disturbance_without_an_end_lasts_for_good() -> None:
    one = parse_disturbance("lighting:5-:0.8")
    assert (one.kind, one.start_s, one.strength, one.level_at(1e9)) == ("lighting", 5.0, 0.8, 0.8)
