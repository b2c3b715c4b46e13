"""The figures on real CLIP features that take seconds: labels alone, an unlabelled pool, skewed pools, texts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.features_file import FeaturesFile, LabelledRows, load_features_file
from pipeline.evaluation.metrics import accuracy
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features, Float32Array


@pytest.fixture(scope="module")
def features(shared_data: Path) -> Path:
    return shared_data / "clip-vitb32-features"


def judged(
    head: str,
    *,
    support: LabelledRows,
    test: LabelledRows,
    classes: tuple[str, ...],
    text: ZeroShotHead | None = None,
    pool: Float32Array | None = None,
) -> float:
    labelled = LabelledFeatures(Features(image=support.x), support.y, support.groups, classes)
    fitted = fit_head(labelled, material=Material(text=text, pool=pool), kind=head)
    return accuracy(fitted.head.score(Features(image=test.x)).logits, labels=test.y).value


def auto(file: FeaturesFile, *, shots: int, pool: Float32Array | None = None) -> float:
    return judged("auto", support=file.train[shots], test=file.test, classes=file.classes, pool=pool)


@pytest.mark.parametrize(
    ("name", "shots", "regression", "slack"),
    [
        ("caltech101", 1, 0.786, 0.01),
        ("oxford_pets", 1, 0.391, 0.01),
        ("oxford_pets", 4, 0.672, -0.05),
        ("dtd", 1, 0.354, 0.01),
    ],
)
def test_labels_alone_do_not_fall_behind_logistic_regression(
    features: Path, name: str, shots: int, regression: float, slack: float
) -> None:
    assert auto(load_features_file(features / f"{name}.npz"), shots=shots) >= regression - slack


@pytest.mark.parametrize(
    ("name", "shots", "expected"),
    [("caltech101", 1, 0.84), ("oxford_pets", 1, 0.57), ("oxford_pets", 4, 0.86), ("dtd", 1, 0.44)],
)
def test_unlabelled_frames_that_cover_the_classes_reach_the_figures(
    features: Path, name: str, shots: int, expected: float
) -> None:
    file = load_features_file(features / f"{name}.npz")
    assert auto(file, shots=shots, pool=file.val) >= expected


@pytest.mark.parametrize("kind", ["five classes", "one class"])
@pytest.mark.parametrize(("name", "shots"), [("oxford_pets", 1), ("oxford_pets", 4), ("dtd", 1)])
def test_a_skewed_pool_costs_at_most_a_point(features: Path, name: str, shots: int, kind: str) -> None:
    path = features / f"{name}.npz"
    file = load_features_file(path)
    assert file.val is not None
    y = np.load(path)["val_y"].astype(np.int64)  # the test may look; the heads cannot
    rng = np.random.default_rng(0)
    order = rng.permutation(len(file.classes))
    if kind == "five classes":
        kept = np.isin(y, order[:5])
    else:
        kept = y == order[0]
        kept[[rng.choice(np.flatnonzero(y == c)) for c in order[1:]]] = True
    assert auto(file, shots=shots, pool=file.val[kept]) >= auto(file, shots=shots) - 0.01


def test_with_texts_every_few_shot_head_beats_image_only_regression_at_four_shots(shared_data: Path) -> None:
    folder = shared_data / "caltech101-paired"
    index = list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))
    x = unit_rows(np.load(folder / "clip_vitb32.npy").astype(np.float32))
    text = unit_rows(np.load(folder / "text_vitb32.npy").astype(np.float32))
    y, role = np.array([int(r["label"]) for r in index]), np.array([r["role"] for r in index])
    classes = tuple(dict.fromkeys(r["classname"] for r in sorted(index, key=lambda r: int(r["label"]))))
    support, test = (
        LabelledRows(x=x[role == which], y=y[role == which], groups=np.arange((role == which).sum()))
        for which in ("support", "query")
    )
    head = ZeroShotHead(classes=classes, prototypes=text, scale=100.0)
    for kind in ("auto", "probe", "gda", "kernel_ridge", "tip", "pool"):
        found = judged(kind, support=support, test=test, classes=classes, text=head)
        assert found > 0.952, kind
