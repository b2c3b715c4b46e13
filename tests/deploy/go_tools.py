"""Helm, the Compose specification's own loader and KEDA's definitions: fetched by Go where they are not there yet."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.conftest import need
from tests.servers.kafka import CACHE

HELM = ("helm.sh/helm/v3/cmd/helm", "v3.22.0")
COMPOSE = ("github.com/compose-spec/compose-go/v2/cmd", "v2.10.0")
KEDA = ("github.com/kedacore/keda/v2", "v2.18.1")
BUILD_TIMEOUT_S = 800.0  # helm, on a busy machine with two cores


def helm() -> str:
    """The program: the user's own, or one that is built once and kept."""
    return shutil.which("helm") or built(*HELM, program="helm")


def compose_loader() -> str:
    """The reference tool of the Compose specification: it checks a file by the schema, then loads it."""
    return built(*COMPOSE, program="cmd")


def keda_definitions() -> Path:
    """The folder of KEDA's CustomResourceDefinitions."""
    done = go("mod", "download", "-json", "@".join(KEDA), cwd=CACHE)
    return Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases"


def built(module: str, version: str, *, program: str) -> str:
    """Skips the test where Go or the way to its modules is missing."""
    folder = CACHE / f"{program}-{version}"
    if not (folder / program).exists():
        go("install", f"{module}@{version}", cwd=CACHE, bin_folder=folder)
    return str(folder / program)


def go(*words: str, cwd: Path, bin_folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One call of the go command; skips the test where it cannot be had or fails."""
    program = shutil.which("go")
    need(program is not None, what="go", how="apt-get install golang, 1.26 or newer, or put helm on the PATH")
    cwd.mkdir(parents=True, exist_ok=True)
    command = ["env", f"GOBIN={bin_folder}", str(program), *words] if bin_folder else [str(program), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    need(done.returncode == 0, what=f"go {' '.join(words)}", how=done.stderr.strip()[-500:])
    return done
