"""A class taken without a new fit: every class in turn is left out of the fit and added by its mean afterwards.

    python -m tests.benchmarks.new_class FEATURES.npz [--shots 5] [--seeds 3] [--every 1] [--no-text]

FEATURES.npz is a features file as `clearline head eval --features` takes it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipeline.evaluation.features_file import FeaturesFile, LabelledRows, load_features_file
from pipeline.evaluation.protocol import supports
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead, with_class
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import Features, Float32Array

MEASURED = ("old before", "old after", "old, fitted anew", "new added", "new, fitted anew", "old called new")


def left_out(
    support: LabelledRows, *, new: int, file: FeaturesFile, text: ZeroShotHead | None, seed: int
) -> tuple[DeconfusionSharedHead, DeconfusionSharedHead]:
    """The head without class `new`, and the same with it added; the new class is the last."""
    old = np.flatnonzero(support.y != new)
    labels = support.y[old] - (support.y[old] > new)
    classes = tuple(c for c in file.classes if c != file.classes[new])
    known = None
    if text is not None:
        known = replace(text, classes=classes, prototypes=np.delete(text.prototypes, new, axis=0))
    head = fitted(LabelledFeatures(support.take(old).features, labels, support.groups[old], classes), known, seed=seed)
    images = support.take(np.flatnonzero(support.y == new))
    prototype = Features(
        image=images.x.mean(axis=0, keepdims=True),
        levels=tuple(level.mean(axis=0, keepdims=True) for level in images.levels),
    )
    more = with_class(
        head,
        class_id=file.classes[new],
        prototype=prototype,
        n_images=np.unique(images.groups).size,
        text=None if text is None else text.prototypes[new],
    )
    return head, more


def fitted(support: LabelledFeatures, text: ZeroShotHead | None, *, seed: int) -> DeconfusionSharedHead:
    """The head itself."""
    head = fit_head(support, material=Material(text=text), kind="deconfusion_shared", seed=seed).head
    assert isinstance(head, DeconfusionSharedHead)
    return head


def measured(
    file: FeaturesFile, *, new: int, heads: tuple[DeconfusionSharedHead, ...]
) -> tuple[float, float, float, float, float, float]:
    """Shares of MEASURED on the test rows."""
    order = np.array([*(c for c in range(len(file.classes)) if c != new), new])
    y, is_new = file.test.y, file.test.y == new
    before, after = (order[answers(head, file=file)] for head in heads[:2])
    anew = answers(heads[2], file=file)
    right = [answer == y for answer in (before, after, anew)]
    return (
        *(float(r[~is_new].mean()) for r in right),
        float(right[1][is_new].mean()),
        float(right[2][is_new].mean()),
        float((after[~is_new] == new).mean()),
    )


def answers(head: DeconfusionSharedHead, *, file: FeaturesFile) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(N,) columns of the head."""
    logits: Float32Array = head.score(file.test.features).logits
    return logits.argmax(axis=1)


def main() -> None:
    """Prints one line of means over classes and seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="leave out every n-th class only")
    parser.add_argument("--no-text", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    file = load_features_file(given.features)
    text = None if given.no_text else file.text
    rows = []
    for draw, support in supports(file, shots=given.shots, seeds=given.seeds):
        whole = fitted(
            LabelledFeatures(support.features, support.y, support.groups, file.classes), text, seed=draw.seed
        )
        for new in range(0, len(file.classes), given.every):
            head, more = left_out(support, new=new, file=file, text=text, seed=draw.seed)
            rows.append(measured(file, new=new, heads=(head, more, whole)))
    means = np.nanmean(np.array(rows), axis=0)
    told = ", ".join(f"{name} {value:.3f}" for name, value in zip(MEASURED, means, strict=True))
    print(f"{given.features.name}, {given.shots} shots, {len(rows)} times one class later: {told}")


if __name__ == "__main__":
    main()
