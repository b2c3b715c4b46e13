"""A real Prometheus that scrapes each second, and a real `clearline run` for it to scrape."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from tests.conftest import ROOT, need
from tests.servers.ports import free_port

START_S = 120.0
STOP_S = 20.0
POLL_S = 0.25
QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}  # COLUMNS: no address is wrapped

T = TypeVar("T")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, for whoever looks at what it said."""
    found = shutil.which("promtool")
    need(found is not None, what="promtool", how="apt-get install prometheus")
    return subprocess.run([str(found), *arguments], capture_output=True, text=True, timeout=120, check=False)


def until(ask: Callable[[], T | None], *, what: str, timeout_s: float = START_S) -> T:
    """The first answer that is not None."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        threading.Event().wait(POLL_S)
    raise AssertionError(f"{what}: not within {timeout_s} s")


class Prometheus:
    """Answers queries of one that runs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Series of an instant query, each with `metric` and `value`."""
        found: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return found

    def label_values(self, label: str, *, match: str) -> list[str]:
        """As Grafana's label_values(match, label)."""
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": match})
        return found

    def alerts(self) -> set[tuple[str, str, str]]:
        """(name, job, source or sink) of all that fire."""
        labels = [one["metric"] for one in self.query('ALERTS{alertstate="firing"}')]
        return {(one["alertname"], one["job"], one.get("source", one.get("sink", ""))) for one in labels}

    def answers(self) -> bool | None:
        """None until it serves."""
        try:
            return True if httpx.get(f"{self._address}/-/ready", timeout=5, trust_env=False).is_success else None
        except httpx.TransportError:
            return None

    def _get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self._address}/api/v1/{path}", params=parameters, timeout=30, trust_env=False)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body}"
        return body["data"]


@contextmanager
def running_prometheus(folder: Path, *, ports: Mapping[str, int], rules: Path | None = None) -> Iterator[Prometheus]:
    """Scrapes 127.0.0.1 at these ports, one job each, and evaluates the rules each second."""
    program = shutil.which("prometheus")
    need(program is not None, what="prometheus", how="apt-get install prometheus")
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in ports.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [
        str(program),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, log=folder / "prometheus.log"):
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        until(prometheus.answers, what="Prometheus serves")
        yield prometheus


@contextmanager
def running_line(config: Path, *, log: Path) -> Iterator[int]:
    """`clearline run` of this file, until the block ends; gives the port of its metrics."""
    with running([sys.executable, "-m", "workers", "run", str(config)], log=log) as process:

        def port() -> int | None:
            assert process.poll() is None, log.read_text()
            found = re.search(r"status and metrics at http://127\.0\.0\.1:(\d+)", log.read_text())
            return None if found is None else int(found.group(1))

        yield until(port, what="the line serves")


@contextmanager
def running(command: list[str], *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Never left behind."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, env={**os.environ, **QUIET})
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=STOP_S)
