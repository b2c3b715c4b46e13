"""What `worker capture` and `worker infer` cost per 1080p frame, beside a real broker: frames per second and CPU.

    python -m tests.benchmarks.worker_cost                 demo model, one encoder thread; about two minutes
    python -m tests.benchmarks.worker_cost --window 20 --json

The broker runs on the same machine and its CPU is not counted. Capture reads as fast as it can (H.264, or pictures that
are JPEG already) and waits for the broker; infer finds its topic full. Start and warm-up are outside the window.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import ROOT
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port
from workers.bench.material import write_jpegs, write_video

WARM_UP_FRAMES = 30
START_S = 180.0
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """\
version: 1
cameras:
  - {{id: cap-01, policy: block, source: {{type: replay, path: {material}, loop: true}}}}
head: {{kind: zero_shot, texts: {texts}, cache: {folder}/cache, registry: {folder}/heads}}
decision: {{good_classes: [clean_plate]}}
sinks: [{{type: kafka}}]
kafka: {{bootstrap: "{bootstrap}"}}
server: {{port: {port}}}
"""


@contextmanager
def worker(stage: str, *, folder: Path, material: Path, bootstrap: str) -> Iterator[tuple[int, str]]:
    """(process id, address) of one that serves; it is stopped at the end."""
    port = free_port()
    config = folder / f"{port}.yaml"
    texts = ROOT / "configs" / "texts" / "demo.yaml"
    config.write_text(CONFIG.format(material=material, texts=texts, folder=folder, bootstrap=bootstrap, port=port))
    command = [sys.executable, "-m", "workers"]
    subprocess.run([*command, "kafka", "init", "--config", str(config)], check=True, capture_output=True)
    command += ["worker", stage, "--config", str(config)]
    with (folder / f"{stage}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def delivered(url: str) -> int:
    """Frames so far; 0 while the worker starts."""
    try:
        return int(httpx.get(url + "/status").json()["total"]["delivered"])
    except httpx.TransportError:
        return 0


def cpu_s(pid: int) -> float:
    """Of all its threads, since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measured(stage: str, *, folder: Path, material: Path, bootstrap: str, window_s: float) -> dict[str, float]:
    """Frames per second and CPU milliseconds per frame."""
    with worker(stage, folder=folder, material=material, bootstrap=bootstrap) as (pid, url):
        deadline = time.monotonic() + START_S
        while delivered(url) < WARM_UP_FRAMES:
            if time.monotonic() > deadline:
                raise SystemExit(f"{stage}: no frames after {START_S:.0f} s; see {folder}/{stage}.log")
            time.sleep(0.1)
        frames, cpu, started_at = delivered(url), cpu_s(pid), time.monotonic()
        time.sleep(window_s)
        n, took_s, used_s = delivered(url) - frames, time.monotonic() - started_at, cpu_s(pid) - cpu
    return {"frames_per_s": round(n / took_s, 1), "cpu_ms_per_frame": round(1e3 * used_s / max(n, 1), 2), "frames": n}


def main() -> None:
    """Three measurements, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--window", type=float, default=15.0, help="seconds that are measured")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, dict[str, float]] = {}

    def note(what: str, figures: dict[str, float]) -> None:
        found[what] = figures
        if not args.json:
            print(f"{what:16} " + ", ".join(f"{name} {value:g}" for name, value in figures.items()), flush=True)

    with (
        tempfile.TemporaryDirectory() as name,
        KafkaBroker(Path(name) / "broker", message_max_bytes=11_000_000) as broker,
    ):
        folder = Path(name)
        video = write_video(folder / "line.mp4", n=120)
        pictures = write_jpegs(folder / "pictures", n=60)
        places = {"folder": folder, "bootstrap": broker.bootstrap, "window_s": args.window}
        note("capture, H.264", measured("capture", material=video, **places))
        note("capture, JPEG", measured("capture", material=pictures, **places))
        note("infer", measured("infer", material=pictures, **places))
        sizes = [path.stat().st_size for path in pictures.iterdir()]
    note("picture", {"jpeg_bytes": round(sum(sizes) / len(sizes))})
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
