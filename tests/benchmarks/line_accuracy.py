"""What the deconfusion head is worth through the product's own path, frame to label: cut, encode, fit, decide.

    python -m tests.benchmarks.line_accuracy                      five simulated lines, 8 labelled pictures per class
    python -m tests.benchmarks.line_accuracy --pictures FOLDER --onnx FILE --shots 5     pictures with an index.csv

The second form stands beside scikit-learn's logistic regression on the same embeddings; each seed draws other support
pictures, the query pictures stay.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.encoders.ladder import as_batch
from pipeline.encoders.onnx_encoder import OnnxSettings
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.preprocess import Preprocessor
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Features, Roi, UInt8Array

TEXTS = Path(__file__).parents[2] / "configs" / "texts" / "demo.yaml"
LINE_SEEDS = range(10_600, 10_605)  # neither trained on, nor used to choose anything
FIRST_QUERY = 1_000
N_QUERIES = 30  # per class and line


def encode(encoder: EncoderBundle, images: list[UInt8Array]) -> Features:
    """BGR pictures to features, as the line does it."""
    cut = Preprocessor(encoder.image.info, Roi())
    pixels = np.stack([cut(image) for image in images])
    parts = [encoder.image.encode(as_batch(pixels[at : at + 16])) for at in range(0, len(pixels), 16)]
    levels = zip(*(part.levels for part in parts), strict=True)
    return Features(np.concatenate([part.image for part in parts]), tuple(np.concatenate(level) for level in levels))


def simulated(shots: int) -> Iterator[tuple[float, float]]:
    """Accuracy of zero-shot and of the head on each line."""
    encoder = build_encoder(precision="fp32", n_levels=4)
    assert encoder.text is not None
    text = build_zero_shot(load_dictionary(TEXTS), encoder=encoder.text)
    for seed in LINE_SEEDS:
        line = SimulatedLine(seed, width=640, height=480)

        def pictures(first: int, n: int, line: SimulatedLine = line) -> tuple[Features, np.ndarray]:
            pairs = [(line.sample(c, number=first + i).image, k) for k, c in enumerate(text.classes) for i in range(n)]
            return encode(encoder, [image for image, _ in pairs]), np.array([label for _, label in pairs])

        (support, labels), (query, truth) = pictures(0, shots), pictures(FIRST_QUERY, N_QUERIES)
        fitted = fit_head(
            LabelledFeatures(support, labels, np.arange(len(labels)), text.classes), material=Material(text=text)
        )
        scores = fitted.head.score(query)
        yield accuracy(scores.zero_shot, truth), accuracy(scores.logits, truth)


def pictured(folder: Path, *, onnx: Path, shots: int, seeds: int) -> Iterator[tuple[float, float]]:
    """Accuracy of logistic regression and of the head for each draw of the support set."""
    from sklearn.linear_model import LogisticRegression

    settings = OnnxSettings(output="embedding")
    encoder = build_encoder(backend="onnx", checkpoint=onnx, onnx=settings, batch_sizes=[16])
    with (folder / "index.csv").open(newline="") as rows:
        listed = list(csv.DictReader(rows))
    classes = tuple(sorted({row["classname"] for row in listed}))
    features = encode(encoder, [cv2.imread(str(folder / row["file"])) for row in listed]).image
    labels = np.array([classes.index(row["classname"]) for row in listed])
    is_support = np.array([row["role"] == "support" for row in listed])
    query, truth = features[~is_support], labels[~is_support]
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        drawn = [rng.permutation(np.flatnonzero(is_support & (labels == k)))[:shots] for k in range(len(classes))]
        picked = np.concatenate(drawn)
        x, y = features[picked], labels[picked]
        fitted = fit_head(LabelledFeatures(Features(x), y, np.arange(len(y)), classes), seed=seed)
        scale = x.std()
        regression = LogisticRegression(max_iter=1000).fit(x / scale, y)
        head = accuracy(fitted.head.score(Features(query)).logits, truth)
        yield float((regression.predict(query / scale) == truth).mean()), head


def accuracy(logits: np.ndarray, truth: np.ndarray) -> float:
    """Share of rows whose largest logit is the truth's."""
    return float((logits.argmax(axis=1) == truth).mean())


def main() -> None:
    """Print a row per line or draw, then mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.pictures is None:
        name, rows = "zero-shot", simulated(given.shots)
    else:
        name, rows = (
            "logistic regression",
            pictured(given.pictures, onnx=given.onnx, shots=given.shots, seeds=given.seeds),
        )
    pairs = []
    for before, after in rows:
        pairs.append((before, after))
        print(f"{name} {before:.1%}, deconfusion {after:.1%}", flush=True)
    table = np.array(pairs) * 100
    gain = table[:, 1] - table[:, 0]
    for what, column in ((name, table[:, 0]), ("deconfusion", table[:, 1]), ("gain", gain)):
        print(f"{what}: {column.mean():.1f} +- {column.std(ddof=1):.1f}")


if __name__ == "__main__":
    main()
