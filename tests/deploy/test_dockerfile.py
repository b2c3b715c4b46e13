"""The Dockerfile, read: it cannot be built without an engine, so everything a build would stumble over is looked at."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib

import pytest

from tests.conftest import ROOT
from tests.deploy.rendered import DEPLOY, copies, last, stages, steps_of
from workers.config.line import load_config

TARGETS = ("cpu", "cuda")
EXACT = re.compile(r"^[a-z0-9./-]+(:v?\d+\.\d+\.\d+[a-z0-9.-]*|@sha256:[0-9a-f]{64})$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_image_from_outside_is_pinned_to_an_exact_version() -> None:
    outside = {stage.base for stage in stages().values()} - stages().keys()
    assert outside
    assert [base for base in outside if not EXACT.match(base)] == []


def test_stages_build_only_on_stages_before_them() -> None:
    known: list[str] = []
    for stage in stages().values():
        origins = [origin for name, _, origin in copies() if name == stage.name and origin]
        bases = [stage.base] if stage.base in stages() else []
        assert set(origins + bases) <= set(known), stage.name
        known.append(stage.name)


def test_everything_copied_is_there_and_let_into_the_build() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    sources = {source for _, found, origin in copies() if origin is None for source in found}
    assert sources == set(allowed)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_all_packages_of_the_project_are_in_the_wheel() -> None:
    [copied] = [[source for name, found, _ in copies() if name == "wheel" for source in found]]
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {path.name for path in ROOT.iterdir() if any(fnmatch.fnmatch(path.name, glob) for glob in patterns)}
    assert packages <= set(copied)
    assert PROJECT["project"]["readme"] in copied


@pytest.mark.parametrize("target", TARGETS)
def test_it_runs_as_a_numeric_user_without_rights(target: str) -> None:
    user = last(target, "USER")
    assert re.fullmatch(r"\d+:\d+", user)
    assert int(user.split(":")[0]) >= 10_000
    assert f"install -d -o {user.split(':')[0]} -g {user.split(':')[1]} /app/runs" in last("runtime", "RUN")


@pytest.mark.parametrize("target", TARGETS)
def test_it_starts_clearline_and_stops_by_the_signal_that_drains(target: str) -> None:
    assert json.loads(last(target, "ENTRYPOINT")) == ["clearline"]
    assert "clearline" in PROJECT["project"]["scripts"]
    assert last(target, "STOPSIGNAL") == "SIGTERM"
    assert ("COPY", f"--from=build-{target} /opt/clearline /opt/clearline") in steps_of(target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_health_check_asks_the_port_of_the_line(target: str) -> None:
    port = load_config(DEPLOY / "line.yaml", environ={}).server.port
    assert f"http://127.0.0.1:{port}/healthz" in last(target, "HEALTHCHECK")
    assert last(target, "EXPOSE") == str(port)


@pytest.mark.parametrize(("target", "cpu_build"), [("cpu", True), ("cuda", False)])
def test_packages_are_pinned_and_only_the_cpu_image_has_the_cpu_build(target: str, cpu_build: bool) -> None:
    install = next(rest for name, rest in steps_of(f"build-{target}") if name == "RUN" and "-r pyproject.toml" in rest)
    assert "--constraint constraints.txt" in install
    assert ("--torch-backend=cpu" in install) == cpu_build
    extras = re.findall(r"--extra (\S+)", install)
    assert set(extras) <= PROJECT["project"]["optional-dependencies"].keys()


def test_no_secret_is_baked_in() -> None:
    said = [rest for stage in stages().values() for name, rest in stage.steps if name in ("ARG", "ENV")]
    assert [rest for rest in said if re.search(r"password|secret|token|_key", rest, re.IGNORECASE)] == []
