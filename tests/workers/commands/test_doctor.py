"""`clearline doctor` on a real small line."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.aravis import ADDRESS, GigeCamera
from tests.servers.ftp import FtpServer
from tests.servers.kafka import KafkaBroker
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import free_port
from workers.clock import SystemClock
from workers.commands.doctor import doctor
from workers.commands.doctor_line import LineChecks
from workers.commands.doctor_sinks import extras_of, sink_checks
from workers.commands.kafka import app as kafka_app
from workers.config.line import load_config
from workers.doctor.finding import State, run_together

APP = typer.Typer()
APP.command()(doctor)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def _checks(result: Result) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in orjson.loads(result.stdout)["checks"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids)
    return folder


def test_without_a_configuration_the_machine_is_looked_at() -> None:
    result = _run("--json")
    checks = _checks(result)
    assert {"python", "packages", "torch pair", "kafka client", "cpu", "memory", "gpu", "clock"} <= set(checks)
    assert result.exit_code == (1 if orjson.loads(result.stdout)["bad"] else 0)


def test_a_sound_line_has_nothing_bad(folder: Path) -> None:
    result = _run("--config", str(write_config(folder, sources=[simulated(40)])), "--json")
    checks = _checks(result)
    assert [name for name, one in checks.items() if one["state"] == "bad"] == []
    assert result.exit_code == 0
    assert "golden pictures agree" in checks["encoder"]["found"]
    assert "made for this encoder" in checks["head"]["found"]
    assert "those of the head" in checks["texts"]["found"]
    assert "160 x 128" in checks["camera cap-01"]["found"]


def test_each_fault_is_one_bad_line_and_the_exit_code_is_1(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    camera = {"type": "camera", "url": f"rtsp://joe:hunter2@127.0.0.1:{free_port()}/1"}
    path = write_config(
        tmp_path,
        sources=[camera, {"type": "replay", "path": str(tmp_path / "gone.mp4")}],
        sinks=[{"type": "jsonl", "path": str(tmp_path / "file" / "results.jsonl")}],
        kafka={"bootstrap": f"127.0.0.1:{free_port()}"},
    )
    result = _run("--config", str(path), "--json")
    assert result.exit_code == 1
    checks = _checks(result)
    bad = {name for name, one in checks.items() if one["state"] == "bad"}
    assert bad >= {"camera cap-01", "camera cap-02", "disk sinks[0].path", "head", "broker"}
    assert "hunter2" not in result.output
    assert "head fit" in checks["head"]["found"]
    assert "expected a broker" in checks["broker"]["found"]


def test_a_gige_vision_camera_is_looked_at_like_any_other(folder: Path) -> None:
    with GigeCamera():
        source = {"type": "gige", "camera": ADDRESS}
        found = _checks(_run("--config", str(write_config(folder, sources=[source])), "--json"))["camera cap-01"]
    assert (found["state"], f"gige://{ADDRESS}: 512 x 512" in found["found"]) == ("ok", True), found


def test_a_region_outside_the_picture_is_bad(folder: Path) -> None:
    text = write_config(folder, sources=[simulated(5)]).read_text()
    rois = "rois: [{id: left, x: 100, y: 0, width: 100, height: 50}]"
    path = folder / "outside.yaml"
    path.write_text(text.replace("- id: cap-01", f"- id: cap-01\n  {rois}"))
    found = _checks(_run("--config", str(path), "--json"))["camera cap-01"]
    assert (found["state"], "left lies outside" in found["found"]) == ("bad", True)


def test_a_file_that_is_not_valid_is_bad_and_the_machine_is_looked_at_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("version: 1\ncameras: []\n")
    result = _run("--config", str(tmp_path / "x.yaml"))
    assert result.exit_code == 1
    assert "bad   configuration" in result.stdout
    assert "ok    python" in result.stdout


def test_sinks_towards_others_are_bad_until_those_are_there(tmp_path: Path) -> None:
    server, broker = FtpServer(tmp_path / "ftp"), Mosquitto(tmp_path / "mosquitto")
    (tmp_path / "options").write_text("\n".join(f"{key}: {value}" for key, value in server.options.items()))
    sinks: list[dict[str, Any]] = [
        {"type": "mqtt", "host": "127.0.0.1", "port": broker.port},
        {"type": "opcua", "port": free_port()},
        {"type": "archive", "folder": server.url, "options_file": str(tmp_path / "options")},
    ]
    config = load_config(write_config(tmp_path, sources=[simulated(1)], sinks=sinks))

    def states() -> dict[str, State]:
        return {one.name: one.state for one in run_together(list(sink_checks(config)), clock=SystemClock())}

    with socket.create_server(("127.0.0.1", sinks[1]["port"])):
        assert states() == dict.fromkeys(("mqtt", "opcua", "archive"), State.BAD)
    with server, broker:
        assert states() == dict.fromkeys(("mqtt", "opcua", "archive"), State.OK)
    assert list(server.folder.rglob("*.jpg")) == []
    assert extras_of(config) == ["mqtt", "opcua", "fsspec"]


def test_a_broker_is_bad_until_its_topics_are_made(kafka_broker: KafkaBroker, tmp_path: Path) -> None:
    kafka = {"bootstrap": kafka_broker.bootstrap, "topics_prefix": f"line-{uuid.uuid4().hex[:8]}"}
    path = write_config(tmp_path, sources=[simulated(1)], kafka=kafka)
    groups = LineChecks(load_config(path), clock=SystemClock()).groups()
    [check] = [one for group in groups for one in group if one.name == "broker"]
    [before] = run_together([check], clock=SystemClock())
    assert (before.state, "clearline kafka init" in before.found) == (State.BAD, True)
    CliRunner().invoke(kafka_app, ["init", "--config", str(path)])
    [after] = run_together([check], clock=SystemClock())
    assert (after.state, "has the 8 topics" in after.found) == (State.OK, True)
