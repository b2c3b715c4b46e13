"""One run of each contestant on the same pictures; every run gives the same four figures."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.environments import MAX_QUOTED, PeerUnavailable, python_of
from tests.benchmarks.peers.processes import free_port, tree_cpu_s

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[3]
RUN_TIMEOUT_S = 600
START_TIMEOUT_S = 180
END_TIMEOUT_S = 10
N_CLIENTS = 32  # two full batches: LitServe is never short of requests


@dataclass(frozen=True, slots=True)
class Run:
    """CPU of the whole process tree, and of decoding alone with the same reader."""

    cpu_s: float
    decode_cpu_s: float
    seconds: float
    n: int


def clearline(path: Path, *, n: int) -> Run:
    """The product itself: two sources of the path, the same sleep behind its encoder seam."""
    return run_script([sys.executable, "-m", "tests.benchmarks.peers.ours", str(path), str(n)], cwd=ROOT)


def naive(path: Path, *, n: int) -> Run:
    """The naive script, in LitServe's environment: it needs open_clip and Pillow, for a video OpenCV as well."""
    python = sys.executable if path.is_file() else python_of("litserve")
    return run_script([str(python), str(SCRIPTS / "naive.py"), str(path), str(n)], cwd=SCRIPTS)


def roboflow(path: Path, *, n: int) -> Run:
    """InferencePipeline; it reads the file once per source, so `n` is the file's."""
    return run_script([str(python_of("roboflow")), str(SCRIPTS / "roboflow_pipeline.py"), str(path)], cwd=path.parent)


def litserve(path: Path, *, n: int) -> Run:
    """The server's process tree while clients send JPEGs; the clients' CPU is not counted."""
    bodies = [_body(file) for file in sorted(path.iterdir())]
    decode = naive(path, n=n).decode_cpu_s  # Pillow, as the server
    with _server() as (pid, port):
        _send(bodies, port=port, n=N_CLIENTS)
        started, wall = tree_cpu_s(pid), time.perf_counter()
        _send(bodies, port=port, n=n)
        spent, seconds = tree_cpu_s(pid) - started, time.perf_counter() - wall
    return Run(cpu_s=spent, decode_cpu_s=decode, seconds=seconds, n=n)


def run_script(command: Sequence[str], *, cwd: Path) -> Run:
    """The figures in the last line a script prints. Raises PeerUnavailable with what it said instead."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise PeerUnavailable(f"{' '.join(command[1:3])} failed: {done.stderr.strip()[-MAX_QUOTED:]}")
    return Run(**json.loads(done.stdout.strip().splitlines()[-1]))


@contextmanager
def _server() -> Iterator[tuple[int, int]]:
    port = free_port()
    command = [str(python_of("litserve")), str(SCRIPTS / "litserve_server.py"), str(port)]
    process = subprocess.Popen(
        command, cwd=SCRIPTS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() > give_up_at:
                process.kill()
                raise PeerUnavailable(f"litserve did not start: {process.communicate()[1].decode()[-MAX_QUOTED:]}")
            time.sleep(0.5)
        yield process.pid, port
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGINT lets it end its workers; whatever is left of its own session is killed."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _body(file: Path) -> bytes:
    return json.dumps({"image_bytes": base64.b64encode(file.read_bytes()).decode()}).encode()


def _send(bodies: Sequence[bytes], *, port: int, n: int) -> None:
    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for index in range(number, n, N_CLIENTS):
            connection.request("POST", "/predict", bodies[index % len(bodies)], {"Content-Type": "application/json"})
            response = connection.getresponse()
            said = response.read()
            if response.status != http.client.OK:
                raise PeerUnavailable(f"litserve answered {response.status}: {said[:MAX_QUOTED]!r}")
        connection.close()

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        list(pool.map(client, range(N_CLIENTS)))
