"""What the shipped CLIP is worth: zero-shot and few-shot accuracy on lines that training never saw.

Run it: python -m tests.benchmarks.demo_clip_accuracy
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.encoders.demo_clip import WEIGHTS, register
from pipeline.encoders.demo_clip.captions import NAMES
from pipeline.encoders.demo_clip.measure import class_features, image_features
from pipeline.encoders.demo_clip.renders import FRESH_SEEDS, Renders, render_set
from pipeline.simulation import LOOK_ALIKES

CLASSES = tuple(NAMES)
RIDGE = 0.05  # a plain guess, never tuned


def load(weights: str) -> tuple[Any, Any]:
    """Model and tokenizer, through open_clip's own factories."""
    import open_clip

    model = open_clip.create_model(register(), pretrained=weights).eval()
    return model, open_clip.get_tokenizer(register())


def answers(renders: Renders) -> NDArray[np.int64]:
    """The truth as column numbers."""
    return np.array([CLASSES.index(part) for part in renders.parts])


def few_shot(support: NDArray[Any], *, labels: NDArray[np.int64], query: NDArray[Any]) -> NDArray[np.int64]:
    """A ridge classifier on centred features; (Q,) decisions."""
    mean = support.mean(axis=0)
    wanted = np.eye(len(CLASSES))[labels] - 1 / len(CLASSES)
    centred = support - mean
    gram = centred.T @ centred + RIDGE * np.eye(centred.shape[1])
    return np.asarray(((query - mean) @ np.linalg.solve(gram, centred.T @ wanted)).argmax(axis=1))


def measure(model: Any, *, tokenizer: Any, seed: int, shots: tuple[int, ...]) -> dict[str, Any]:
    """One unseen line: support set and queries from the same line, different parts."""
    texts = class_features(model, tokenizer=tokenizer).numpy()
    query = render_set([seed], per_class=40, side=96)
    support = render_set([seed], per_class=max(shots), side=96, first_index=100_000)
    truth = answers(query)
    features = image_features(model, images=query.images).numpy()
    zero = (features @ texts.T).argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (truth, zero), 1)
    known, labels = image_features(model, images=support.images).numpy(), answers(support)
    found: dict[str, Any] = {"zero": float((zero == truth).mean()), "confusion": confusion}
    for n_shots in shots:
        rows = slice(0, n_shots * len(CLASSES))
        guess = few_shot(known[rows], labels=labels[rows], query=features)
        found[f"shots_{n_shots}"] = float((guess == truth).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=str(WEIGHTS))
    parser.add_argument("--lines", type=int, default=5)
    parser.add_argument("--first", type=int, default=FRESH_SEEDS[500])
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load(given.weights)
    shots = (1, 2, 4, 8, 16)
    runs = [measure(model, tokenizer=tokenizer, seed=given.first + i, shots=shots) for i in range(given.lines)]
    for key in ("zero", *(f"shots_{n}" for n in shots)):
        values = np.array([run[key] for run in runs])
        print(f"{key:>9}: {values.mean():.3f} +- {values.std(ddof=1):.3f}  {np.round(values, 3).tolist()}")
    gains = np.array([run["shots_8"] - run["zero"] for run in runs])
    print(f"8-shot gain over zero-shot: {gains.mean():.3f} +- {gains.std(ddof=1):.3f}")
    total = sum(run["confusion"] for run in runs)
    for name, row in zip(CLASSES, total, strict=True):
        print(f"{name:>16} " + " ".join(f"{count:4d}" for count in row))
    for pair in LOOK_ALIKES:
        one, other = (CLASSES.index(part) for part in pair)
        forth, back = total[one, other] / total[one].sum(), total[other, one] / total[other].sum()
        print(f"{pair[0]} -> {pair[1]} {forth:.2f}, back {back:.2f}")


if __name__ == "__main__":
    main()
