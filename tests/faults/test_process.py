"""The process as an operator meets it: signals drain it, faults end it with a clear line and the documented code."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config

CLEARLINE = [sys.executable, "-m", "workers"]
FOREVER = simulated(None, speed="real_time", fps=20)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one head, to be copied."""
    folder = tmp_path_factory.mktemp("fitted")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids, shots=1)
    return folder


@pytest.fixture
def home(fitted: Path, tmp_path: Path) -> Path:
    """A folder of this test's own, with a head."""
    shutil.copytree(fitted / "heads", tmp_path / "heads")
    return tmp_path


def run_line(config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLEARLINE, "run", str(config), *more], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_line_and_the_frames_add_up(home: Path, number: signal.Signals) -> None:
    config = write_config(home, sources=[FOREVER, FOREVER])
    results = home / "results.jsonl"
    with subprocess.Popen(
        [*CLEARLINE, "run", str(config), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "status and metrics at" in line:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    ends = ("delivered", "dropped", "dead_lettered", "in_flight")
    assert summary["captured"] == sum(summary[key] for key in ends)
    assert summary["in_flight"] == 0
    assert len(results.read_text().splitlines()) == summary["delivered"]


def test_a_killed_line_leaves_whole_lines_and_starts_again(home: Path) -> None:
    config = write_config(home, sources=[simulated(None)])
    results = home / "results.jsonl"
    with subprocess.Popen(
        [*CLEARLINE, "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (results.exists() and results.stat().st_size > 20_000):
            assert process.poll() is None
        process.kill()
    done = run_line(write_config(home, sources=[simulated(10)]), "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert len({line["event_id"] for line in lines}) == len(lines)


def break_video(home: Path) -> dict[str, Any]:
    (home / "empty.mp4").touch()
    return {"sources": [{"type": "replay", "path": str(home / "empty.mp4")}]}


def break_folder(home: Path) -> dict[str, Any]:
    (home / "pictures").mkdir()
    return {"sources": [{"type": "replay", "path": str(home / "pictures")}]}


def lose_head(home: Path) -> dict[str, Any]:
    shutil.rmtree(home / "heads")
    return {"sources": [FOREVER]}


def truncate_head(home: Path) -> dict[str, Any]:
    [bundle] = (home / "heads").rglob("*.head")
    bundle.write_bytes(bundle.read_bytes()[:-100])
    return {"sources": [FOREVER]}


def forbid_output(home: Path) -> dict[str, Any]:
    (home / "file").touch()
    return {"sources": [FOREVER], "sinks": [{"type": "jsonl", "path": str(home / "file" / "results.jsonl")}]}


def misspell(home: Path) -> dict[str, Any]:
    return {"sources": [{**FOREVER, "fsp": 3}]}


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (break_video, 9, "empty.mp4"),
        (break_folder, 9, "pictures"),
        (lose_head, 4, "clearline head fit"),
        (truncate_head, 4, "SHA-256"),
        (forbid_output, 6, "results.jsonl"),
        (misspell, 2, "did you mean 'fps'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_fault_has_its_message_and_exit_code(
    home: Path, spoil: Callable[[Path], dict[str, Any]], code: int, says: str
) -> None:
    done = run_line(write_config(home, **spoil(home)), "--seconds", "20")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_said_at_start(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_line(write_config(home, sources=[FOREVER], server={"port": port}))
    assert done.returncode == 6, done.stderr
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr


def test_a_corrupt_picture_is_kept_aside_and_the_others_are_decided(fitted: Path, home: Path) -> None:
    pictures = home / "pictures"
    pictures.mkdir()
    for number, picture in enumerate(sorted((fitted / "labelled").rglob("*.png"))[:4]):
        shutil.copy(picture, pictures / f"{number}.png")
    (pictures / "2.png").write_bytes(b"\x89PNG cut short")
    done = run_line(write_config(home, sources=[{"type": "replay", "path": str(pictures)}]), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["captured"], summary["delivered"], summary["dead_lettered"]) == (4, 3, 1)
    [letter] = [json.loads(line) for line in (home / "results.jsonl.dead.jsonl").read_text().splitlines()]
    assert letter["reason"] == "undecodable"
