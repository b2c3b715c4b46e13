"""`python -m tests.benchmarks [--quick]`: everything, one after the other; the last line is one JSON object."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from workers.bench.machine import bf16_instructions, describe

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NO_BF16 = "not available on this CPU: neither AVX512_BF16 nor AMX; figures of bf16 here are of an emulation"
MAX_QUOTED = 600  # characters of a failed benchmark's last words that are kept


def main() -> None:
    """The line's own measurements, the encoders', the peers'."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean little")
    parser.add_argument("--no-peers", action="store_true", help="install and run nothing from outside")
    options = parser.parse_args()
    quick = ["--quick"] if options.quick else []
    results: dict[str, Any] = {"machine": describe(), "bf16": "available" if bf16_instructions() else NO_BF16}
    results["line"] = _last_line(["-m", "workers", "bench", "--json", *quick])
    if (HERE / "bench_encoders.py").is_file():
        results["encoders"] = _last_line(["-m", "tests.benchmarks.bench_encoders", "--model", "ViT-B-32"])
    if not options.no_peers:
        few = ["--frames", "32", "--rounds", "1"] if options.quick else []
        results["peers"] = _last_line(["-m", "tests.benchmarks.peers", "--json", *few])
    print(json.dumps(results))


def _last_line(arguments: list[str]) -> Any:
    """The JSON object that a benchmark ends with, or why there is none."""
    print("==", " ".join(arguments), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    start = max(done.stdout.rfind("\n{"), 0)  # an object may be printed over several lines
    if done.returncode or not done.stdout.strip():
        return {"failed": f"exit code {done.returncode}: {done.stdout[-MAX_QUOTED:]}"}
    return json.loads(done.stdout[start:])


if __name__ == "__main__":
    main()
