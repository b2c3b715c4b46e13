"""Real faults in a running line wake the right alerts of the shipped rules, and a sound line wakes none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.texts.dictionary import load_dictionary
from tests.conftest import ROOT
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.ports import free_port
from tests.servers.prometheus import Prometheus, running_line, running_prometheus, until

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
SOUND, FAULTY = "clearline-sound", "clearline-faulty"
SMALL = {"width": 64, "height": 64, "speed": "real_time"}
LIVE_SCRAPES = 20  # of the sound line: more than the shortened windows and waits together
FIRES_S = 90.0
OF_SPEED = {"LatencyHigh", "FramesDropped"}  # while another line overloads the machine, these may be true


def shortened(text: str) -> str:
    """The shipped rules with short waits and windows; expressions, labels and limits stay as they are."""
    text = re.sub(r"for: \d+[mhd]\b", "for: 2s", text)
    return re.sub(r"\[\d+m(:?)\]", lambda found: "[10s:1s]" if found.group(1) else "[10s]", text)


def config(folder: Path, *, name: str, sources: list[dict[str, Any]], **sections: Any) -> Path:
    """A line with its own files beside a common head."""
    sinks = [{"type": "jsonl", "path": str(folder / f"{name}.jsonl"), "fsync": "never"}]
    return write_config(folder, sources=sources, sinks=sinks, **sections).rename(folder / f"{name}.yaml")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alerts")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids, shots=1)
    (folder / "alerts.yml").write_text(shortened(RULES.read_text()))
    return folder


@pytest.fixture(scope="module")
def faulty_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def watched(home: Path, faulty_port: int) -> Iterator[Prometheus]:
    """Watches a sound line, and a place where the faulty one will be."""
    sound = config(home, name="sound", sources=[simulated(None, fps=5, **SMALL)])
    with (
        running_line(sound, log=home / "sound.log") as port,
        running_prometheus(home, ports={SOUND: port, FAULTY: faulty_port}, rules=home / "alerts.yml") as prometheus,
    ):
        seen = f'count_over_time(clearline_ready{{job="{SOUND}"}}[5m]) >= {LIVE_SCRAPES}'
        until(lambda: prometheus.query(seen) or None, what="the sound line is seen for a while")
        yield prometheus


@pytest.fixture(scope="module")
def faulty(home: Path, watched: Prometheus, faulty_port: int) -> Iterator[Path]:
    """A line whose first camera dies and whose second is faster than the encoder; gives its file of results."""
    dead = [{"kind": "dead", "start_s": 2.0}]
    cameras = [simulated(None, fps=10, disturbances=dead, **SMALL), simulated(None, fps=1000, **SMALL)]
    overloaded = {"defaults": {"queue_frames": 1}, "server": {"port": faulty_port}, "shutdown": {"timeout_s": 2}}
    with running_line(config(home, name="faulty", sources=cameras, **overloaded), log=home / "faulty.log"):
        yield home / "faulty.jsonl"


def demand(prometheus: Prometheus, *alerts: tuple[str, str]) -> None:
    """All of these (name, source or sink) fire for the faulty line."""
    wanted = {(name, FAULTY, at) for name, at in alerts}
    until(lambda: wanted <= prometheus.alerts() or None, what=f"{alerts} fire", timeout_s=FIRES_S)


def fired(prometheus: Prometheus, *, job: str) -> set[str]:
    """Whatever fired at any time."""
    query = f'max_over_time(ALERTS{{alertstate="firing", job="{job}"}}[10m])'
    return {one["metric"]["alertname"] for one in prometheus.query(query)}


def test_a_sound_line_wakes_nobody(watched: Prometheus) -> None:
    assert fired(watched, job=SOUND) <= OF_SPEED


def test_a_process_that_is_not_there_is_noticed(watched: Prometheus) -> None:
    until(lambda: "WorkerDown" in fired(watched, job=FAULTY) or None, what="WorkerDown fires")


def test_a_dead_camera_wakes_source_down(watched: Prometheus, faulty: Path) -> None:
    demand(watched, ("SourceDown", "cap-01"))
    assert ("SourceDown", FAULTY, "cap-02") not in watched.alerts()


def test_an_overloaded_camera_wakes_frames_dropped(watched: Prometheus, faulty: Path) -> None:
    demand(watched, ("FramesDropped", "cap-02"))


def test_a_results_file_that_cannot_be_written_wakes_sink_failing_and_not_ready(
    watched: Prometheus, faulty: Path
) -> None:
    faulty.unlink()
    faulty.mkdir()
    demand(watched, ("SinkFailing", "jsonl"), ("NotReady", ""))
    assert not fired(watched, job=FAULTY) & {"ConservationBroken", "DeadLetters", "NoFrames"}
    assert fired(watched, job=SOUND) <= OF_SPEED
