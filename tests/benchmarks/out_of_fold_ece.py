"""How honest the shipped head's probabilities are on rows it was not fitted on.

    python -m tests.benchmarks.out_of_fold_ece FEATURES.npz [...]
    python -m tests.benchmarks.out_of_fold_ece --images FOLDER --config configs/demo.yaml

Every labelled row is judged once, by the fold that left it out. The temperature is one number fitted on these very
rows; `split` therefore also gives the error where it is fitted on one half of them and judged on the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pipeline.evaluation.features_file import load_features_file
from pipeline.evaluation.metrics import expected_calibration_error
from pipeline.heads.calibration import fit_temperature
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import Float32Array
from workers.commands.head_support import open_support, progress_shown
from workers.config.line import load_config

N_SPLITS = 20
TEMPERATURE_SPREAD = 1.5  # of log T, as the blend's own calibration


def across_halves(logits: Float32Array, *, labels: np.ndarray[tuple[int], np.dtype[np.int64]], start: float) -> float:
    """Mean over random halves."""
    found = []
    for seed in range(N_SPLITS):
        order = np.random.default_rng(seed).permutation(labels.size)
        fit, judge = np.array_split(order, 2)
        t = fit_temperature(logits[fit], labels=labels[fit], start=start, prior_spread=TEMPERATURE_SPREAD)
        found.append(expected_calibration_error(logits[judge], labels=labels[judge], temperature=t))
    return float(np.mean(found))


def told(name: str, *, support: LabelledFeatures, text: ZeroShotHead | None, kind: str) -> str:
    """One line of figures."""
    fitted = fit_head(support, material=Material(text=text), kind=kind)
    held_out = fitted.held_out
    if held_out is None:
        return f"{name}: nothing could be held out"
    logits, labels, t = held_out.logits, held_out.labels, fitted.temperature
    ece = expected_calibration_error(logits, labels=labels, temperature=t)
    right = fitted.report.accuracy_head
    return (
        f"{name}: {kind}, {len(support.classes)} classes, {labels.size} rows judged, accuracy {right.value:.3f}, "
        f"ECE {ece:.3f}, split {across_halves(logits, labels=labels, start=t):.3f}"
    )


def main() -> None:
    """Prints one line per set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, nargs="*")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--head", default="auto")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for path in given.features:
        file = load_features_file(path)
        rows = max(file.train.values(), key=lambda rows: rows.y.size)
        support = LabelledFeatures(rows.features, rows.y, rows.groups, file.classes)
        print(told(path.name, support=support, text=file.text, kind=given.head), flush=True)
    if given.images is not None:
        with progress_shown() as progress:
            opened = open_support(given.images, config=load_config(given.config), progress=progress)
        text = opened.texts.names
        print(told(given.images.name, support=opened.support.features, text=text, kind=given.head), flush=True)


if __name__ == "__main__":
    main()
