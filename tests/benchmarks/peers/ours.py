"""Clearline as a contestant: the line with a sleeping encoder, its process measured as the peers' are."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.benchmarks.peers.scripts.measuring import SIDE, SLEEP_BATCH_S, SLEEP_ROW_S, report
from workers.bench.host_cost import SLEEP_COST, measure_host_cost


def main(path: Path, n: int) -> None:
    """One round."""
    torch.set_num_threads(1)
    if (SLEEP_COST.a_s, SLEEP_COST.b_s) != (SLEEP_BATCH_S, SLEEP_ROW_S):
        sys.exit(f"the contestants must sleep alike, got {SLEEP_COST} and {SLEEP_BATCH_S}, {SLEEP_ROW_S}")
    one = measure_host_cost(path, image_size=SIDE, n_frames=n, n_rounds=1)
    done = one["n_frames"]
    report(
        cpu_s=one["cpu_ms_per_frame"] * done / 1e3,
        decode_cpu_s=one["cpu_ms_decoding"] * done / 1e3,
        seconds=done / one["frames_per_second"],
        n=done,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
