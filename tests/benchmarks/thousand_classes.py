"""Fit and inference time of `auto` at 1,000 classes, synthetic features.

python tests/benchmarks/thousand_classes.py [--shots 16] [--pool 10000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from pipeline.heads.auto.policy import fit_auto
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.types import Features

N_CLASSES, DIM, BATCH = 1_000, 512, 64


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--pool", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_CLASSES, DIM))

    def rows(labels: np.ndarray) -> np.ndarray:
        return unit_rows((centres[labels] + 2.0 * rng.normal(size=(labels.size, DIM)) + 1.0).astype(np.float32))

    labels = np.repeat(np.arange(N_CLASSES), arguments.shots).astype(np.int64)
    queries = rng.integers(0, N_CLASSES, 2_000)
    pool = rows(rng.integers(0, N_CLASSES, arguments.pool)) if arguments.pool else None
    support, test = Features(image=rows(labels)), Features(image=rows(queries))
    classes = tuple(f"c{i:04d}" for i in range(N_CLASSES))
    begun, cpu = time.perf_counter(), time.process_time()
    fitted = fit_auto(support, labels=labels, groups=np.arange(labels.size), classes=classes, pool=pool)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    begun = time.process_time()
    for start in range(0, queries.size, BATCH):
        fitted.head.score(Features(image=test.image[start : start + BATCH]))
    each = (time.process_time() - begun) / queries.size
    accuracy = (fitted.head.score(test).logits.argmax(axis=1) == queries).mean()
    print(
        f"{N_CLASSES} classes x {arguments.shots}, pool {arguments.pool}: fit {wall:.1f} s wall, {cpu:.1f} s CPU; "
        f"inference {each * 1e6:.0f} us CPU per image; accuracy {accuracy:.3f}; weights {fitted.report.weights}"
    )


if __name__ == "__main__":
    main()
