"""Fit and inference time of every head on synthetic features: `python -m tests.benchmarks.head_times`.

Fitting uses `--threads` threads, scoring one. CPU seconds hold on a machine that others use, wall seconds do not: the
load average is printed beside them.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features

HEADS = "auto,deconfusion,deconfusion_shared,probe,gda,kernel_ridge,linear,tip,pool,prototype"
N_QUERIES = 2_000
BATCH = 64


def synthetic(*, n_classes: int, shots: int, dim: int) -> tuple[LabelledFeatures, ZeroShotHead, Features]:
    """Rows around random class means, vague texts, queries."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_classes, dim))

    def rows(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Features:
        x = centres[labels] + 2.0 * rng.normal(size=(labels.size, dim)) + 1.0
        return Features(image=unit_rows(x.astype(np.float32)))

    labels = np.repeat(np.arange(n_classes), shots).astype(np.int64)
    classes = tuple(f"c{i:04d}" for i in range(n_classes))
    support = LabelledFeatures(rows(labels), labels, np.arange(labels.size, dtype=np.int64), classes)
    texts = unit_rows((centres + 2.0 * rng.normal(size=centres.shape) + 1.0).astype(np.float32))
    queries = rows(rng.integers(0, n_classes, N_QUERIES).astype(np.int64))
    return support, ZeroShotHead(classes=classes, prototypes=texts, scale=30.0), queries


def per_image(score: object, *, queries: Features, batch: int) -> float:
    """CPU seconds."""
    n = N_QUERIES if batch > 1 else N_QUERIES // 8
    parts = [Features(image=queries.image[start : start + batch]) for start in range(0, n, batch)]
    begun = time.process_time()
    for part in parts:
        score(part)  # type: ignore[operator]
    return (time.process_time() - begun) / n


def main() -> None:
    """Prints one line per head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--heads", default=HEADS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", action="store_true")
    given = parser.parse_args()
    support, text, queries = synthetic(n_classes=given.classes, shots=given.shots, dim=given.dim)
    print(f"{given.classes} classes x {given.shots} of {given.dim}, texts {given.texts}, {given.threads} threads")
    for kind in given.heads.split(","):
        pool = queries.image if kind == "pool" else None
        torch.set_num_threads(given.threads)
        with threadpool_limits(given.threads):
            begun, cpu = time.perf_counter(), time.process_time()
            fitted = fit_head(support, material=Material(text=text if given.texts else None, pool=pool), kind=kind)
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        torch.set_num_threads(1)
        with threadpool_limits(1):
            each, alone = (per_image(fitted.head.score, queries=queries, batch=n) for n in (BATCH, 1))
        print(
            f"{kind:19s} fit {wall:6.1f} s wall {cpu:6.1f} s CPU; "
            f"per image {each * 1e6:5.0f} us in batches of {BATCH}, {alone * 1e6:5.0f} us alone; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
