"""The dashboards type-check against what Grafana publishes of its files, by the TypeScript compiler."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, need
from tests.servers.kafka import CACHE

HERE = Path(__file__).parent / "grafana_schema"
BOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
STRICT = ("--noEmit", "--strict", "--module", "nodenext", "--moduleResolution", "nodenext")
PACKAGES = json.loads((HERE / "package.json").read_text())["devDependencies"]
FETCH_S = 200.0


@pytest.fixture(scope="module")
def modules() -> Path:
    """Grafana's types and the compiler: fetched once, then kept."""
    npm = shutil.which("npm")
    need(npm is not None, what="npm", how="apt-get install npm")
    folder = CACHE / "-".join(["grafana-schema", *PACKAGES.values()])
    compiler = folder / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", folder)
        command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
        need(compiler.exists(), what="Grafana's types", how=f"a way to npm's registry; it said {said.stderr[-300:]}")
    return folder / "node_modules"


def compiled(folder: Path, *, modules: Path, boards: dict[str, str]) -> str:
    """What the compiler says about these dashboards; nothing when they fit."""
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(HERE / "checked.d.ts", folder)
    for name, text in boards.items():
        source = f"import type {{ Checked }} from './checked';\nexport const board: Checked = {text};\n"
        (folder / f"{name}.ts").write_text(source, encoding="utf-8")
    command = ["node", str(modules / "typescript" / "bin" / "tsc"), *STRICT, *(f"{name}.ts" for name in boards)]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    return said.stdout + said.stderr


def test_every_dashboard_is_what_grafanas_types_allow(modules: Path, tmp_path: Path) -> None:
    boards = {path.stem: path.read_text(encoding="utf-8") for path in BOARDS}
    assert len(boards) == 3
    assert compiled(tmp_path, modules=modules, boards=boards) == ""


def test_the_compiler_sees_a_wrong_word_a_wrong_key_and_a_wrong_type(modules: Path, tmp_path: Path) -> None:
    right = next(path for path in BOARDS if path.stem == "clearline-line").read_text(encoding="utf-8")
    wrong = {
        "word": right.replace('"mode": "absolute"', '"mode": "absolut"'),
        "key": right.replace('"reduceOptions"', '"reduce"'),
        "type": right.replace('"h": 8', '"h": "8"'),
    }
    said = compiled(tmp_path, modules=modules, boards=wrong)
    assert [name for name in wrong if f"{name}.ts(" not in said] == []


def test_the_types_are_of_the_grafana_that_is_deployed() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert compose["services"]["grafana"]["image"] == f"grafana/grafana:{PACKAGES['@grafana/schema']}"
