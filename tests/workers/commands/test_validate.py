"""`clearline validate`."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from tests.conftest import ROOT
from workers.commands.validate import validate

APP = typer.Typer()
APP.command()(validate)
BROKEN = "version: 1\ncameras: []\nhead: {nam: x}\ndecision: {good_classes: [ok]}\n"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(BROKEN)
    return str(path)


def test_a_valid_file_is_said_to_be_so() -> None:
    result = _run(str(ROOT / "configs" / "demo.yaml"))
    assert result.exit_code == 0
    assert "valid (cameras: 4, rois: 4, sinks: 1)" in result.stdout


def test_every_problem_is_printed_and_the_exit_code_is_2(broken: str) -> None:
    result = _run(broken)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{broken}: cameras must be a list of at least 1, got [] (line 2)",
        f"{broken}: head.nam: unknown key, did you mean 'name'? (line 3)",
    ]


def test_json_is_one_object_either_way(broken: str) -> None:
    bad = _run(broken, "--json")
    assert bad.exit_code == 2
    problems = orjson.loads(bad.stdout)["problems"]
    assert [(one["key"], one["line"]) for one in problems] == [("cameras", 2), ("head.nam", 3)]
    good = orjson.loads(_run(str(ROOT / "configs" / "demo.yaml"), "--json").stdout)
    assert (good["valid"], good["cameras"]) == (True, 4)


def test_the_schema_needs_no_file() -> None:
    result = _run("--schema")
    assert result.exit_code == 0
    assert "cameras" in orjson.loads(result.stdout)["properties"]


def test_neither_file_nor_schema_is_an_error() -> None:
    assert _run().exit_code == 2
