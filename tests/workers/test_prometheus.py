"""A real Prometheus scrapes the real port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import need
from tests.making import make_prediction, make_ref
from workers.clock import SystemClock
from workers.ledger import Ledger
from workers.metrics.registry import Metrics
from workers.server import StatusServer

DEADLINE_S = 60.0
SETTINGS = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: clearline, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}
"""


@pytest.fixture
def line() -> Iterator[StatusServer]:
    metrics = Metrics(clock=SystemClock(), version="0.1.0")
    metrics.source_state("cap-01", "streaming")
    ledger = Ledger()
    metrics.bind_ledger(ledger.counts)
    ledger.register("cap-01", ack=lambda position: None)
    for sequence in range(42):
        ledger.captured((make_ref(sequence),))
    metrics.predicted(make_prediction())
    server = StatusServer(
        host="127.0.0.1",
        port=0,
        metrics=metrics,
        status=dict,
        health=lambda: (True, []),
        ready=lambda: (True, []),
    )
    server.start()
    yield server
    server.stop(timeout_s=5)


@pytest.fixture
def prometheus(line: StatusServer, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the line each second."""
    program = shutil.which("prometheus")
    need(program is not None, what="prometheus", how="apt-get install prometheus")
    settings = tmp_path / "prometheus.yml"
    settings.write_text(SETTINGS.format(port=line.port))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(program),
                f"--config.file={settings}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _ask(address: str, query: str) -> float:
    """The value of a query, asked until there is one."""
    deadline = time.monotonic() + DEADLINE_S
    said = "nothing"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{address}/api/v1/query", params={"query": query}, timeout=5, trust_env=False)
            found = answer.json()["data"]["result"] if answer.status_code == 200 else []
            if found:
                return float(found[0]["value"][1])
            said = answer.text
        except httpx.TransportError as error:
            said = repr(error)
        threading.Event().wait(0.2)
    raise AssertionError(f"no value of {query} within {DEADLINE_S} s: {said}")


def test_prometheus_finds_the_line_up_and_reads_its_values(prometheus: str) -> None:
    assert _ask(prometheus, 'up{job="clearline"} == 1') == 1
    assert _ask(prometheus, 'clearline_captured_total{source="cap-01"}') == 42
    assert _ask(prometheus, "histogram_quantile(0.5, clearline_decision_latency_seconds_bucket)") > 0
