"""Accuracy, calibration and fit time of the heads on real CLIP features: `python -m tests.benchmarks.head_accuracy`."""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features
from tests.conftest import SHARED_DATA

N_ECE_BINS = 15


def labelled(x: np.ndarray, *, y: np.ndarray, n_classes: int) -> LabelledFeatures:
    classes = tuple(f"class-{i:04d}" for i in range(n_classes))
    labels = y.astype(np.int64)
    return LabelledFeatures(
        Features(image=unit_rows(x.astype(np.float32))), labels, np.arange(labels.size, dtype=np.int64), classes
    )


def logistic_regression(support: LabelledFeatures, *, test: np.ndarray) -> np.ndarray:
    """scikit-learn's, on features scaled to unit spread, C by its own default."""
    from sklearn.linear_model import LogisticRegression

    scale = support.features.image.std()
    model = LogisticRegression(max_iter=500).fit(support.features.image / scale, support.labels)
    return model.decision_function(test / scale)


def calibration_error(logits: np.ndarray, *, labels: np.ndarray) -> float:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    bins = np.minimum((p.max(axis=1) * N_ECE_BINS).astype(int), N_ECE_BINS - 1)
    right = p.argmax(axis=1) == labels
    gaps = [
        (bins == b).mean() * abs(right[bins == b].mean() - p.max(axis=1)[bins == b].mean())
        for b in range(N_ECE_BINS)
        if (bins == b).any()
    ]
    return float(np.sum(gaps))


def row(
    support: LabelledFeatures,
    *,
    x: np.ndarray,
    y: np.ndarray,
    text: ZeroShotHead | None,
    seed: int,
    fusion: str,
    kind: str,
) -> dict[str, object]:
    test = Features(image=unit_rows(x.astype(np.float32)))
    started = time.perf_counter()
    fitted: FittedHead = fit_head(support, material=Material(text=text), kind=kind, seed=seed, fusion=fusion)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    scores = fitted.head.score(test)
    micros = 1e6 * (time.perf_counter() - started) / len(y)
    linear = logistic_regression(support, test=test.image)
    assert scores.novelty is None or np.isfinite(scores.novelty).all()
    return {
        "prior": round(float((scores.zero_shot.argmax(1) == y).mean()), 4),
        "head": round(float((scores.logits.argmax(1) == y).mean()), 4),
        "logistic": round(float((linear.argmax(1) == y).mean()), 4),
        "ece": round(calibration_error(scores.logits / fitted.temperature, labels=y), 3),
        "known_called_unknown": None if scores.novelty is None else round(float((scores.novelty > 1).mean()), 4),
        "fit_s": round(seconds, 1),
        "us_per_image": round(micros, 1),
        "fusion": {k: round(v, 2) for k, v in fitted.report.fusion.items()},
        "out_of_fold": fitted.report.accuracy_head.to_json()["value"],
    }


def run_clip(folder: Path, *, seeds: int, shots: list[int], fusion: str, kind: str) -> None:
    for name in ("caltech101", "oxford_pets", "dtd"):
        with np.load(folder / f"{name}.npz") as z:
            data = {k: z[k] for k in z}
        for k in shots:
            for seed in range(seeds if f"train{k}_x" in data else 0):
                support = labelled(data[f"train{k}_x"], y=data[f"train{k}_y"], n_classes=len(data["classnames"]))
                test = {"x": data["test_x"], "y": data["test_y"]}
                one = row(support, **test, text=None, seed=seed, fusion=fusion, kind=kind)
                print(json.dumps({"set": name, "shots": k, "seed": seed, **one}), flush=True)


def run_paired(folder: Path, *, seeds: int, fusion: str, kind: str) -> None:
    with (folder / "index.csv").open() as file:
        index = list(csv.DictReader(file))
    x, y = np.load(folder / "clip_vitb32.npy"), np.asarray([int(r["label"]) for r in index])
    is_support = np.asarray([r["role"] == "support" for r in index])
    vectors = unit_rows(np.load(folder / "text_vitb32.npy").astype(np.float32))
    for k in (1, 2, 4):
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = np.concatenate([rng.permutation(np.flatnonzero(is_support & (y == c)))[:k] for c in range(31)])
            support = labelled(x[rows], y=y[rows], n_classes=31)
            for text in (ZeroShotHead(classes=support.classes, prototypes=vectors, scale=100.0), None):
                test = {"x": x[~is_support], "y": y[~is_support]}
                one = row(support, **test, text=text, seed=seed, fusion=fusion, kind=kind)
                print(
                    json.dumps({"set": "paired", "text": text is not None, "shots": k, "seed": seed, **one}), flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shots", default="1,2,4,8,16")
    parser.add_argument("--fusion", default="beta")
    parser.add_argument("--kind", default="deconfusion")
    parser.add_argument("--only", choices=("clip", "paired"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The number of unique classes")
    if given.only != "paired":
        shots = [int(k) for k in given.shots.split(",")]
        run_clip(
            SHARED_DATA / "clip-vitb32-features", seeds=given.seeds, shots=shots, fusion=given.fusion, kind=given.kind
        )
    if given.only != "clip":
        run_paired(SHARED_DATA / "caltech101-paired", seeds=given.seeds, fusion=given.fusion, kind=given.kind)


if __name__ == "__main__":
    main()
