"""What the files under deploy/ say, as values: the chart rendered, the Compose file loaded, the Dockerfile read."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.deploy.go_tools import compose_loader, helm

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm"
LINE = DEPLOY / "line.yaml"
KUBERNETES = "1.34.0"
Manifest = dict[str, Any]


def run_helm(*words: str) -> subprocess.CompletedProcess[str]:
    """`helm WORDS`, whatever comes of it."""
    return subprocess.run([helm(), *words], capture_output=True, text=True, timeout=60, check=False)


def templated(values: Mapping[str, Any], *, folder: Path) -> list[Manifest]:
    """The chart with deploy/line.yaml and these values over its own."""
    over = folder / "values.yaml"
    over.write_text(json.dumps({"line": LINE.read_text(encoding="utf-8"), **values}), encoding="utf-8")
    done = run_helm("template", "line", str(CHART), "--kube-version", KUBERNETES, "--values", str(over))
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def kinds(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def workloads(manifests: list[Manifest]) -> dict[str, Manifest]:
    """{name: pod template} of everything that makes pods."""
    makers = [manifest for manifest in manifests if manifest["kind"] in ("Deployment", "Job")]
    return {manifest["metadata"]["name"]: manifest["spec"]["template"] for manifest in makers}


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The plain values; what comes from secrets is left out."""
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def composed() -> Manifest:
    """compose.yaml after schema, merges, interpolation and consistency checks, with the services of every profile."""
    command = [compose_loader(), "-format", "json", "compose.yaml"]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...] = field(default=())  # (instruction, the rest)


def stages() -> dict[str, Stage]:
    """Of the Dockerfile, in order."""
    found: dict[str, Stage] = {}
    steps: list[tuple[str, str]] = []
    for instruction, rest in _instructions((DEPLOY / "Dockerfile").read_text(encoding="utf-8")):
        if instruction == "FROM":
            base, _, name = rest.split()
            steps = []
            found[name] = Stage(name=name, base=base)
        else:
            steps.append((instruction, rest))
            found[name] = Stage(name=name, base=base, steps=tuple(steps))
    return found


def steps_of(target: str) -> list[tuple[str, str]]:
    """Everything an image of this target is made by, bases first."""
    all_stages = stages()
    steps: list[tuple[str, str]] = []
    name = target
    while name in all_stages:
        steps = [*all_stages[name].steps, *steps]
        name = all_stages[name].base
    return steps


def last(target: str, instruction: str) -> str:
    """What counts of an instruction that is given several times."""
    return [rest for name, rest in steps_of(target) if name == instruction][-1]


def copies() -> Iterator[tuple[str, list[str], str | None]]:
    """(stage, sources, the stage they come from or None for the checkout) of each COPY."""
    for stage in stages().values():
        for instruction, rest in stage.steps:
            if instruction == "COPY":
                words = shlex.split(rest)
                origins = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
                sources = [word for word in words if not word.startswith("--")][:-1]
                yield stage.name, sources, origins[0] if origins else None


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        instruction, _, rest = line.partition(" ")
        yield instruction, rest.strip()
