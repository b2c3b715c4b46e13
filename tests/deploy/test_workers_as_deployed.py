"""The commands, probes and signals of compose.yaml and of the chart, run for real against a real broker.

In place of the image: a folder with its `configs` and an empty `runs`, and this checkout's `clearline`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.deploy.rendered import LINE, composed, environment, last, templated, workloads
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port

pytestmark = pytest.mark.timeout(900)  # Helm is built the first time
MOUNTED = "/etc/clearline/line.yaml"
PORT = 9109
DEADLINE_S = 180.0
STAGES = ("kafka-init", "capture", "infer")
N_TOPICS = 8  # of workers/kafka/topics.py


@dataclass(frozen=True, slots=True)
class Deployed:
    """One container as a file under deploy/ describes it."""

    args: list[str]
    environment: dict[str, str]
    health_path: str
    ready_path: str
    stop_s: float


def by_compose(_: Path) -> dict[str, Deployed]:
    services = composed()["services"]
    return {
        name: Deployed(services[name]["command"], services[name]["environment"], "/healthz", "/readyz", 30.0)
        for name in STAGES
    }


def by_chart(folder: Path) -> dict[str, Deployed]:
    found = {}
    for template in workloads(templated({}, folder=folder)).values():
        [container] = template["spec"]["containers"]
        paths = [
            container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe") if probe in container
        ]
        stop_s = float(template["spec"]["terminationGracePeriodSeconds"])
        health, ready = paths or ["", ""]
        found[container["name"]] = Deployed(container["args"], environment(container), health, ready, stop_s)
    return found


class Container:
    """Starts what is deployed as a container would; ports and broker are this test's own."""

    def __init__(self, folder: Path, *, bootstrap: str) -> None:
        self.folder = folder
        (folder / "runs").mkdir()
        (folder / "configs").symlink_to(ROOT / "configs")
        self._own = {"KAFKA_BOOTSTRAP": bootstrap, "KAFKA_TOPICS_PREFIX": f"line-{uuid.uuid4().hex[:8]}"}

    def command(self, deployed: Deployed, *, port: int) -> tuple[list[str], dict[str, str]]:
        """(words, environment); only the port and the path of the configuration differ from what is deployed."""
        mounted = self.folder / f"line-{port}.yaml"
        mounted.write_text(LINE.read_text(encoding="utf-8").replace(f"port: {PORT}", f"port: {port}"), encoding="utf-8")
        assert self._own.keys() <= deployed.environment.keys()
        assert MOUNTED in deployed.args
        words = [str(mounted) if word == MOUNTED else word for word in deployed.args]
        home = {"HOME": str(self.folder / "runs"), "OMP_NUM_THREADS": "1"}
        return [sys.executable, "-m", "workers", *words], {**os.environ, **deployed.environment, **self._own, **home}

    def run(self, deployed: Deployed) -> subprocess.CompletedProcess[str]:
        """To its end."""
        words, variables = self.command(deployed, port=free_port())
        return subprocess.run(
            words, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    @contextmanager
    def running(self, deployed: Deployed) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """(process, address of its status port); killed at the end where it still runs."""
        port = free_port()
        words, variables = self.command(deployed, port=port)
        with (self.folder / f"{port}.log").open("wb") as log:
            process = subprocess.Popen(words, cwd=self.folder, env=variables, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], *, process: subprocess.Popen[bytes]) -> None:
    """Return once it holds; fail where the process ends before or it takes too long."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ended with {process.returncode}"
        try:
            if holds():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"not after {DEADLINE_S:.0f} s")


def answers(url: str) -> bool:
    return httpx.get(url).status_code == 200


def delivered(url: str) -> int:
    return int(httpx.get(url + "/status").json()["total"]["delivered"])


def image_health_check(url: str) -> int:
    """Exit code of the image's HEALTHCHECK, on this container's port."""
    words = json.loads(last("cpu", "HEALTHCHECK").partition("CMD ")[2])
    assert words[0] == "python"
    own = [word.replace(f"http://127.0.0.1:{PORT}", url) for word in words[1:]]
    return subprocess.run([sys.executable, *own], capture_output=True, check=False).returncode


@pytest.fixture
def container(kafka_broker: KafkaBroker, tmp_path: Path) -> Container:
    return Container(tmp_path, bootstrap=kafka_broker.bootstrap)


@pytest.mark.parametrize("read", [by_compose, by_chart])
def test_a_line_runs_as_deployed_and_drains_when_it_is_stopped(
    read: Callable[[Path], Mapping[str, Deployed]], container: Container
) -> None:
    stages = read(container.folder)
    made = container.run(stages["kafka-init"])
    assert made.returncode == 0, made.stderr
    assert made.stdout.count(" created") == N_TOPICS
    capture, infer = stages["capture"], stages["infer"]
    with container.running(capture) as (sender, sends), container.running(infer) as (decider, decides):
        for process, url, deployed in ((sender, sends, capture), (decider, decides, infer)):
            until(partial(answers, url + deployed.health_path), process=process)
            until(partial(answers, url + deployed.ready_path), process=process)
            assert image_health_check(url) == 0
        until(lambda: delivered(decides) > 0, process=decider)
        assert "clearline_ready 1.0" in httpx.get(decides + "/metrics").text
        for process, deployed in ((sender, capture), (decider, infer)):
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=deployed.stop_s) == 0


def test_workers_that_come_before_their_topics_end_and_say_so(container: Container) -> None:
    early = container.run(by_compose(container.folder)["capture"])
    assert early.returncode == 2
    assert "clearline kafka init" in early.stderr + early.stdout


def test_the_health_check_fails_where_nobody_answers() -> None:
    assert image_health_check(f"http://127.0.0.1:{free_port()}") != 0
