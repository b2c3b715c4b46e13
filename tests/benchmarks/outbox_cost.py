"""What the outbox costs per result, beside the same destination without it: directly, boxed, and drained.

    python -m tests.benchmarks.outbox_cost                     results of 1200 bytes, 32 to a delivery
    python -m tests.benchmarks.outbox_cost --folder DIR        on the disk that the outbox will have

The destination does nothing, and packing is left out: what remains is the outbox. Every figure is the median over
deliveries, printed as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, Prediction
from tests.making import make_prediction
from workers.backoff import Backoff
from workers.clock import SystemClock
from workers.outbox.sink import OutboxSink
from workers.outbox.store import Parcel

MAX_BYTES = 4_000_000_000


class NullDestination:
    """Takes everything at once, or refuses everything at once."""

    def __init__(self, *, n_bytes: int) -> None:
        self.away = False
        self._parcel = Parcel(b"cap-01", bytes(n_bytes), (("ce_id", b"cap-01-1-0-full"),), "results", "cap-01-1-0-full")

    def pack(self, outcome: Prediction | DeadLetter) -> list[Parcel]:
        return [self._parcel]

    def send(self, parcels: Sequence[Parcel]) -> None:
        if self.away:
            raise SinkError("away")

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


def timed(action: Callable[[], object], *, n: int) -> list[float]:
    """Seconds of each of n calls."""
    found = []
    for _ in range(n):
        started_at = time.perf_counter()
        action()
        found.append(time.perf_counter() - started_at)
    return found


def probe_fsync(folder: Path, *, n_bytes: int) -> float:
    """Median seconds of writing and syncing so many bytes to a plain file: what no durable box can be below."""
    with (folder / "probe").open("wb", buffering=0) as file:

        def write() -> None:
            file.write(bytes(n_bytes))
            os.fsync(file.fileno())

        return median(timed(write, n=100))


def measure(folder: Path, *, n_bytes: int, per_delivery: int, n_deliveries: int) -> dict[str, float]:
    """All figures of one size of delivery."""
    destination = NullDestination(n_bytes=n_bytes)
    batch = [make_prediction(sequence) for sequence in range(per_delivery)]
    bare = median(timed(lambda: destination.send([p for one in batch for p in destination.pack(one)]), n=2000))
    clock = SystemClock()
    sink = OutboxSink(
        destination,
        path=folder / f"outbox-{per_delivery}.sqlite",
        max_bytes=MAX_BYTES,
        max_age_s=1e9,
        clock=clock,
        backoff=Backoff(initial_s=0.05, cap_s=0.05, rng=random.Random(0)),
        on_shed=lambda n, reason: None,
    )
    direct = median(timed(lambda: sink.deliver(batch), n=2000))
    destination.away = True
    boxed = timed(lambda: sink.deliver(batch), n=n_deliveries)
    n_rows, counted_bytes, _ = sink.depth()
    file_bytes = sum(path.stat().st_size for path in folder.glob(f"outbox-{per_delivery}.sqlite*"))
    destination.away = False
    clock.wait(0.1)
    flushes = []
    while sink.depth().n_rows:
        flushes += timed(sink.flush, n=1)
    sink.close()
    return {
        "per_delivery": per_delivery,
        "n_boxed": n_rows,
        "bare_us_per_result": 1e6 * bare / per_delivery,
        "direct_us_per_result": 1e6 * direct / per_delivery,
        "direct_above_bare_us_per_delivery": 1e6 * (direct - bare),
        "boxed_us_per_result": 1e6 * median(boxed) / per_delivery,
        "boxed_ms_per_delivery": 1e3 * median(boxed),
        "boxed_ms_longest_delivery": 1e3 * max(boxed),
        "write_and_sync_ms": 1e3 * probe_fsync(folder, n_bytes=n_bytes * per_delivery),
        "drained_us_per_result": 1e6 * sum(flushes) / n_rows,
        "drain_ms_longest_flush": 1e3 * max(flushes),
        "file_per_counted_byte": file_bytes / counted_bytes,
    }


def main() -> None:
    """Print one object per size of delivery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--n-bytes", type=int, default=1200)
    parser.add_argument("--n-deliveries", type=int, default=1000)
    given = parser.parse_args()
    for per_delivery in (1, 32):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            figures = measure(
                Path(folder), n_bytes=given.n_bytes, per_delivery=per_delivery, n_deliveries=given.n_deliveries
            )
        print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
