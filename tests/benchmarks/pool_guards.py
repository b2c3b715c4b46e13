"""What an unlabelled pool costs where it cannot help: `python -m tests.benchmarks.pool_guards [--draws 10]`.

Skewed pools on the three sets of real CLIP features: five classes only, or one class and one row of each other. Weak
features: MobileNetV2 on TrashNet and DeepPCB, half of the query rows as the pool and the other half judged, then the
other way round. Every figure is accuracy with the pool minus the same head without one, in points.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pipeline.evaluation.features_file import LabelledRows, load_features_file
from pipeline.heads.auto.pool_choice import MIN_COVERAGE, choose_pool
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.types import Float32Array
from tests.benchmarks.make_features import arrays, encode, listed
from tests.conftest import SHARED_DATA

CLIP_SETS = ("caltech101", "oxford_pets", "dtd")
WEAK_SETS = ("trashnet-subset", "deeppcb-crops")
Classes = tuple[str, ...]


def right(support: LabelledRows, *, test: LabelledRows, classes: Classes, pool: Float32Array | None) -> float:
    """Accuracy of `auto` in points."""
    labelled = LabelledFeatures(support.features, support.y, support.groups, classes)
    fitted = fit_head(labelled, material=Material(pool=pool), kind="auto")
    return 100.0 * float((fitted.head.score(test.features).logits.argmax(axis=1) == test.y).mean())


def skewed(y: np.ndarray, *, five: bool, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of five classes, or of one class and one row of each other."""
    order = rng.permutation(n_classes)
    if five:
        return np.flatnonzero(np.isin(y, order[:5]))
    others = [rng.choice(np.flatnonzero(y == c)) for c in order[1:]]
    return np.sort(np.concatenate([np.flatnonzero(y == order[0]), others]).astype(np.int64))


def on_skewed_pools(name: str, *, n_draws: int) -> None:
    """One line per number of shots; a pool that is ignored changes nothing, so only the others are fitted with."""
    path = SHARED_DATA / "clip-vitb32-features" / f"{name}.npz"
    file = load_features_file(path)
    assert file.val is not None
    y = np.load(path)["val_y"]  # makes the pools; the heads never see it
    n_classes = len(file.classes)
    for shots in (k for k in (1, 4, 16) if k in file.train):
        support, alone = file.train[shots], None
        coverages, gains = [], []
        for draw in range(n_draws):
            rng = np.random.default_rng([draw, shots])
            for five in (True, False):
                pool = file.val[skewed(y, five=five, n_classes=n_classes, rng=rng)]
                choice = choose_pool(support.x, labels=support.y, n_classes=n_classes, pool=pool)
                coverages.append(choice.coverage)
                if choice.coverage <= MIN_COVERAGE:
                    gains.append(0.0)
                    continue
                alone = alone or right(support, test=file.test, classes=file.classes, pool=None)
                gains.append(right(support, test=file.test, classes=file.classes, pool=pool) - alone)
        print(
            f"{name}, {shots} shots, {len(gains)} skewed pools: coverage at most {max(coverages):.2f} (used above "
            f"{MIN_COVERAGE}), worst difference {min(gains):+.1f} points",
            flush=True,
        )


def on_weak_features(name: str, *, n_draws: int, draws_from: int) -> None:
    """One line per number of shots."""
    pictures = listed(SHARED_DATA / name, query_share=0.5)
    model: Path = SHARED_DATA / "mobilenetv2-imagenet" / "mobilenetv2_1.0_224.onnx"
    made = arrays(pictures, x=encode(pictures, model=model))
    classes = tuple(map(str, made["classnames"]))
    rows = {p: LabelledRows(made[f"{p}_x"], made[f"{p}_y"], made[f"{p}_group"]) for p in ("train", "val", "test")}
    for shots in (1, 5, 10):
        gains, levels = [], []
        for draw in range(draws_from, draws_from + n_draws):
            rng = np.random.default_rng([draw, shots])
            of_class = [rng.permutation(np.flatnonzero(rows["train"].y == c))[:shots] for c in range(len(classes))]
            support = rows["train"].take(np.concatenate(of_class))
            for pool, test in (("val", "test"), ("test", "val")):
                alone = right(support, test=rows[test], classes=classes, pool=None)
                levels.append(alone)
                gains.append(right(support, test=rows[test], classes=classes, pool=rows[pool].x) - alone)
        error = np.std(np.reshape(gains, (-1, 2)).mean(axis=1), ddof=1) / np.sqrt(n_draws)
        print(
            f"{name}, {shots} shots, {n_draws} draws: without {np.mean(levels):.1f} %, with the pool "
            f"{np.mean(gains):+.1f} points (standard error {error:.1f})",
            flush=True,
        )


def main() -> None:
    """Prints a line per set and number of shots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--draws-from", type=int, default=0, help="number of the first draw on weak features")
    parser.add_argument("--sets", default=",".join((*CLIP_SETS, *WEAK_SETS)))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.sets.split(","):
        if name in CLIP_SETS:
            on_skewed_pools(name, n_draws=given.draws)
        else:
            on_weak_features(name, n_draws=given.draws, draws_from=given.draws_from)


if __name__ == "__main__":
    main()
