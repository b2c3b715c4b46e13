"""`clearline probe` measures a real camera and a file, saves a snapshot, and fails with a cause and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline.errors import DataError, SourceError
from tests.servers.mjpeg import MjpegServer
from tests.servers.ports import free_port
from tests.servers.rtsp import RtspServer
from tests.servers.videos import write_picture, write_video
from workers.commands.probe import is_camera, probe


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(probe)
    return CliRunner().invoke(app, list(arguments))


def test_an_mjpeg_camera_is_measured(tmp_path: Path) -> None:
    with MjpegServer(fps=25.0) as server:
        result = run(server.url, "--seconds", "1", "--json", "--snapshot", str(tmp_path / "new" / "look.png"))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["kind"], report["reader"], report["codec"]) == ("camera", "mjpeg", "mjpeg")
    assert (report["width"], report["height"]) == (160, 120)
    assert 15 < report["fps"] < 27
    assert report["ended"] == "time"
    assert cv2.imread(str(tmp_path / "new" / "look.png")).shape == (120, 160, 3)


def test_an_rtsp_camera_is_measured_against_its_own_time() -> None:
    with RtspServer() as server:
        result = run(server.url, "--seconds", "1.5", "--json")
    report = json.loads(result.stdout)
    assert (report["codec"], report["width"], report["announced_fps"]) == ("h264", 320, 25.0)
    assert 20 < report["fps"] < 30
    assert abs(report["drift_ms"]) < 250
    assert report["open_s"] > 0


def test_a_video_is_played_to_its_end_and_said_for_people(tmp_path: Path) -> None:
    result = run(str(write_video(tmp_path / "belt.mp4", n_frames=5, fps=20.0)))
    assert result.exit_code == 0, result.output
    assert "160 x 120 pixels" in result.stdout
    assert "announced 20" in result.stdout
    assert "end of file" in result.stdout


def test_a_camera_that_refuses_gives_its_cause_without_the_password() -> None:
    result = run(f"rtsp://user:secret@127.0.0.1:{free_port()}/x", "--json")
    assert result.exit_code == SourceError.exit_code
    assert "Connection refused" in json.loads(result.stdout)["error"]
    assert "secret" not in result.output


def test_a_missing_file_is_an_error_of_its_class(tmp_path: Path) -> None:
    result = run(str(tmp_path / "nothing.mp4"))
    assert isinstance(result.exception, SourceError)  # the command line turns it into one line and its exit code


def test_a_camera_lost_while_it_is_looked_at_ends_with_the_exit_code_of_a_source() -> None:
    with MjpegServer(fps=25.0) as server:
        server.limit = 10
        result = run(server.url, "--seconds", "5", "--read-timeout-ms", "300", "--json")
    assert result.exit_code == SourceError.exit_code
    assert json.loads(result.stdout)["ended"].startswith("lost: ")


def test_nothing_but_broken_pictures_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"broken")
    result = run(str(tmp_path), "--json")
    assert result.exit_code == SourceError.exit_code
    assert "1 broken" in json.loads(result.stdout)["error"]


def test_a_snapshot_that_cannot_be_saved_is_said(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "1.png")
    result = run(str(picture), "--snapshot", str(tmp_path / "look.nothing"), "--json")
    assert result.exit_code == DataError.exit_code
    assert "look.nothing" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [("rtsp://cam/1", True), ("http://cam", True), ("0", True), ("/dev/video1", True), ("belt.mp4", False)],
)
def test_cameras_are_told_from_files(target: str, expected: bool) -> None:
    assert is_camera(target) is expected
