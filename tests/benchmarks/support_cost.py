"""What the memory of a line costs: append per frame, insert per exemplar, bytes of each.

python -m tests.benchmarks.support_cost [--dim 512] [--rounds 2000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.intake import LabelIntake
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.store import SupportStore
from pipeline.types import EncoderInfo, FrameRef
from tests.fakes import FakeEncoder

BATCH = 16
NOW = 1_700_000_000.0


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    info = FakeEncoder(embedding_dim=options.dim).info
    with tempfile.TemporaryDirectory() as folder:
        found = recording_cost(Path(folder), info=info, rounds=options.rounds) | store_cost(Path(folder), info=info)
    print(json.dumps(found, indent=1))


def recording_cost(folder: Path, *, info: EncoderInfo, rounds: int) -> dict[str, Any]:
    """Median and 99th percentile of appends of 16, microseconds of wall time per frame; CPU time; reading back."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, info.embedding_dim)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels, confidences = np.zeros(BATCH, np.int64), np.ones(BATCH, np.float32)
    recording = EmbeddingRecording(folder / "rec", encoder=info, segment_bytes=16 << 20)
    times, cpu = list[float](), list[float]()
    for number in range(rounds):
        refs = [FrameRef(f"cap-{i % 4}", 1, number * BATCH + i, "full", NOW, "host", 0.0) for i in range(BATCH)]
        begun, cpu_begun = time.perf_counter(), time.thread_time()
        recording.append(refs, embeddings=x, labels=labels, confidences=confidences, head_version=1, at=NOW)
        times.append((time.perf_counter() - begun) / BATCH * 1e6)
        cpu.append((time.thread_time() - cpu_begun) / BATCH * 1e6)
    recording.close()
    read = RecordingReader(folder / "rec", encoder=info)
    seconds = timed(lambda: read.pool(since=0.0, max_rows=rounds * BATCH))
    return {
        "append_us_per_frame_median": round(statistics.median(times), 2),
        "append_us_per_frame_p10": round(float(np.percentile(times, 10)), 2),
        "append_cpu_us_per_frame_mean": round(statistics.fmean(cpu), 2),
        "append_us_per_frame_p99": round(float(np.percentile(times, 99)), 2),
        "recorded_bytes_per_frame": round(recording.n_bytes / rounds / BATCH, 1),
        "read_pool_us_per_frame": round(seconds / rounds / BATCH * 1e6, 2),
    }


def store_cost(folder: Path, *, info: EncoderInfo) -> dict[str, Any]:
    """A class filled to its caps: labelled and added in batches of 64 and one by one; hash, snapshot, size."""
    context = SupportContext("cap-01", "full", "cap", info.sha256, info.preprocessing_sha256)
    rng = np.random.default_rng(0)

    def exemplars(start: int, n: int) -> list[Exemplar]:
        x = rng.normal(size=(n, info.embedding_dim)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return [Exemplar(f"cap-01-1-{start + i}-full", "ok", context, as_fp16(x[i]), margin=0.1) for i in range(n)]

    with SupportStore(folder / "support.sqlite", encoder=info) as store:
        desk = LabelIntake(store, classes=("ok",), knows_event=lambda _: True)

        def teach(rows: list[Exemplar]) -> tuple[float, float]:
            labels = [Label(e.event_id, "ok", who, NOW, Stream.TEACH) for e in rows for who in ("ada", "ben")]
            intake_s = timed(lambda: desk.take_all(labels, at=NOW)) / len(labels)
            return intake_s, timed(lambda: store.add(rows, at=NOW)) / len(rows)

        store.add_founders(exemplars(1_000_000, 32), at=NOW)
        for start in range(0, 640, 64):
            teach(exemplars(start, 64))
        batch = [teach(exemplars(start, 64)) for start in range(1_000, 1_320, 64)]
        single = [teach(exemplars(start, 1)) for start in range(2_000, 2_020)]
        hash_s, snapshot_s = timed(store.content_sha256), timed(lambda: store.snapshot(folder / "a.support"))
        n_living, n_rows = len(store.exemplars()), len(store.exemplars(living=False))
        store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (folder / "support.sqlite").stat().st_size
    return {
        "take_label_ms_in_128": round(1e3 * statistics.median(one[0] for one in batch), 3),
        "add_exemplar_ms_in_64": round(1e3 * statistics.median(one[1] for one in batch), 3),
        "add_exemplar_ms_alone": round(1e3 * statistics.median(one[1] for one in single), 2),
        "content_sha256_ms_of_256": round(1e3 * hash_s, 2),
        "snapshot_ms_of_256": round(1e3 * snapshot_s, 2),
        "n_living": n_living,
        "store_bytes_per_exemplar_with_two_labels": round(size / n_rows),
        "snapshot_bytes_per_exemplar": round((folder / "a.support").stat().st_size / n_living),
    }


def timed(work: Callable[[], Any]) -> float:
    """Seconds of wall time."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
