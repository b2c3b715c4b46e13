"""`python -m tests.benchmarks.peers --json`: host CPU per picture with a sleeping encoder, all on the same files."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import contestants
from tests.benchmarks.peers.contestants import Run
from tests.benchmarks.peers.environments import PEERS, PeerUnavailable
from workers.bench import material
from workers.bench.machine import describe

TARGETS = {"naive": 3.0, "litserve": 2.5, "roboflow": 2.5}  # times Clearline's host CPU per picture
INPUTS: dict[str, dict[str, Callable[..., Run]]] = {
    "jpeg_1080p": {"clearline": contestants.clearline, "naive": contestants.naive, "litserve": contestants.litserve},
    "h264_1080p": {"clearline": contestants.clearline, "naive": contestants.naive, "roboflow": contestants.roboflow},
}
SETTINGS = {
    "clearline": "configuration's defaults, two sources, JSON lines with fsync per batch",
    "naive": "one by one; Pillow for JPEG, OpenCV for video; open_clip's own transform; one torch thread",
    "litserve": "max_batch_size 16, batch_timeout 20 ms, one worker, base64 JPEG in JSON, 32 clients not counted",
    "roboflow": "init_with_custom_logic, four sources (it batches over sources only), defaults, telemetry off",
}


def main() -> None:
    """Contestants take turns; medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line (always printed)")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=sorted(INPUTS), help="one kind of input")
    options = parser.parse_args()
    inputs = {name: who for name, who in INPUTS.items() if options.only in (None, name)}
    with tempfile.TemporaryDirectory(prefix="clearline-bench-") as folder:
        results = {
            name: _compare(who, path=_path(name, Path(folder), n=options.frames), options=options)
            for name, who in inputs.items()
        }
    about = {"machine": describe(), "versions": {peer: wanted[0] for peer, wanted in PEERS.items()}}
    print(json.dumps({**about, "settings": SETTINGS, "targets": TARGETS, "results": results}))


def _path(name: str, folder: Path, *, n: int) -> Path:
    if name.startswith("jpeg"):
        return material.write_jpegs(folder / "jpegs", n=min(60, n))
    return material.write_video(folder / "line.mp4", n=n // 4)  # Roboflow's pipeline reads it four times


def _compare(who: dict[str, Callable[..., Run]], *, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {name: [] for name in who}
    failed: dict[str, str] = {}
    for _ in range(options.rounds):
        for name, run in who.items():
            if name in failed:
                continue
            try:
                runs[name].append(run(path, n=options.frames))
            except PeerUnavailable as error:
                failed[name] = str(error)
            else:
                print(f"{path.name} {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    figures: dict[str, Any] = {name: _figures(those) for name, those in runs.items() if those}
    for name, one in figures.items():
        if name != "clearline" and "clearline" in figures:
            one["times_clearline"] = one["cpu_ms"] / figures["clearline"]["cpu_ms"]
            one["times_clearline_above_decoding"] = (
                one["cpu_ms_above_decoding"] / figures["clearline"]["cpu_ms_above_decoding"]
            )
            one["reached"] = one["times_clearline"] >= TARGETS[name]
            one["reached_above_decoding"] = one["times_clearline_above_decoding"] >= TARGETS[name]
    return {**figures, **{name: {"unavailable": why} for name, why in failed.items()}}


def _figures(runs: list[Run]) -> dict[str, Any]:
    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in runs)

    return {
        "cpu_ms": median(lambda run: 1e3 * run.cpu_s / run.n),
        "cpu_ms_decoding": median(lambda run: 1e3 * run.decode_cpu_s / run.n),
        "cpu_ms_above_decoding": median(lambda run: 1e3 * (run.cpu_s - run.decode_cpu_s) / run.n),
        "images_per_second": median(lambda run: run.n / run.seconds),
        "n": runs[-1].n,
        "rounds": len(runs),
    }


if __name__ == "__main__":
    main()
