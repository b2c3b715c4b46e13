"""What several frames of one part are worth: accuracy and honesty of single frames beside fused parts.

    OMP_NUM_THREADS=1 nice python -m tests.benchmarks.part_accuracy [--parts 560] [--shots 8] [--kind auto]

Five simulated lines that were neither trained on nor used to choose anything. Each fits the head on pictures of other
parts, then sees a stream of parts in five views each (place, brightness, motion and noise differ, the part does not).
The correlation is measured as a running line does it: a part is fused with what the parts before it have shown. The
first 100 parts, for which it stands at 1, are left out of every column. The accuracy of n frames takes the first n.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.evaluation.metrics import expected_calibration_error
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.parts import IntraclassCorrelation, fuse
from pipeline.parts.correlation import ENOUGH_PARTS
from pipeline.simulation.disturbances import Disturbance
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Features, Float32Array, Scores
from tests.benchmarks.line_accuracy import LINE_SEEDS, TEXTS, encode

VIEWS = 5
FRAMES = (1, 2, 3, 5)
CHUNK = 40  # frames rendered at a time
CAMERAS = {
    "steady camera": (),
    "camera on a loose bracket (shake 0.5)": (Disturbance("shake", strength=0.5, ramp_s=0.0),),
}


def fitted_on(seed: int, *, encoder: EncoderBundle, text: ZeroShotHead, shots: int, kind: str) -> FittedHead:
    """The head of one line, from undisturbed pictures of other parts."""
    line = SimulatedLine(seed, width=640, height=480)
    images = [line.sample(c, number=n).image for c in text.classes for n in range(shots)]
    labels = np.repeat(np.arange(len(text.classes)), shots)
    support = LabelledFeatures(encode(encoder, images), labels, np.arange(len(labels)), text.classes)
    return fit_head(support, material=Material(text=text), kind=kind)


def stream(
    seed: int, *, script: tuple[Disturbance, ...], encoder: EncoderBundle, classes: tuple[str, ...], n_parts: int
) -> tuple[Features, np.ndarray]:
    """Features of n_parts * VIEWS frames in order, and the truth of each part (n_parts,)."""
    weights = dict.fromkeys(classes, 1.0)
    line = SimulatedLine(seed, width=640, height=480, weights=weights, disturbances=script, frames_per_part=VIEWS)
    chunks = []
    for start in range(0, n_parts * VIEWS, CHUNK):
        frames = range(start, min(start + CHUNK, n_parts * VIEWS))
        chunks.append(encode(encoder, [line.render(index).image for index in frames]))
    levels = zip(*(chunk.levels for chunk in chunks), strict=True)
    features = Features(np.concatenate([c.image for c in chunks]), tuple(np.concatenate(one) for one in levels))
    return features, np.array([classes.index(line.truth(n * VIEWS)) for n in range(n_parts)])


def first_frames(scores: Scores, *, n: int) -> Scores:
    """Of every part's VIEWS rows the first n."""
    keep = np.arange(scores.logits.shape[0]) % VIEWS < n
    return Scores(scores.zero_shot[keep], scores.confusion[keep], scores.logits[keep])


def measured(rows: Scores, *, n: int) -> list[float]:
    """The correlation that each part would be fused with on a running line."""
    known, used = IntraclassCorrelation(), []
    for part in rows.logits.reshape(-1, n, rows.logits.shape[1]):
        used.append(known.value)
        known.add(part, label=int(part.mean(axis=0).argmax()))
    return used


def judged(scores: Scores, *, truth: np.ndarray, temperature: float) -> Iterator[dict[str, float]]:
    """Accuracy and calibration error for each number of frames."""
    for n in FRAMES:
        rows = first_frames(scores, n=n)
        used = measured(rows, n=n)
        told: dict[str, float] = {"frames": n, "rho": used[-1]}
        for name, correlation in (("measured", used), ("0", [0.0] * len(used)), ("1", [1.0] * len(used))):
            logits: Float32Array = fuse(rows, sizes=[n] * len(used), correlation=correlation).logits[ENOUGH_PARTS:]
            labels = truth[ENOUGH_PARTS:]
            told["accuracy"] = float((logits.argmax(axis=1) == labels).mean())
            told[f"ece {name}"] = expected_calibration_error(logits, labels=labels, temperature=temperature)
        yield told


def row(n: int, found: list[dict[str, float]]) -> str:
    """One line of the table: mean and standard deviation over the lines."""

    def spread(name: str, *, scale: float = 1.0, digits: int = 3, gain_over: list[float] | None = None) -> str:
        values = np.array([one[name] for one in found]) * scale
        if gain_over is not None:
            values = values - np.array(gain_over) * scale
        return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"

    single = [one["single"] for one in found]
    rho = "-" if n == 1 else spread("rho", digits=2)
    gain = "-" if n == 1 else spread("accuracy", scale=100, digits=1, gain_over=single)
    errors = " | ".join(spread(f"ece {name}") for name in ("measured", "0", "1"))
    return f"| {n} | {spread('accuracy', scale=100, digits=1)} | {gain} | {rho} | {errors} |"


def main() -> None:
    """Print a table per camera."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=560)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--keep", type=Path, help="folder for the scores, to look at them again")
    given = parser.parse_args()
    encoder = build_encoder(precision="fp32", n_levels=4)
    assert encoder.text is not None
    text = build_zero_shot(load_dictionary(TEXTS), encoder=encoder.text)
    heads = {
        seed: fitted_on(seed, encoder=encoder, text=text, shots=given.shots, kind=given.kind) for seed in LINE_SEEDS
    }
    for camera, script in CAMERAS.items():
        by_frames: dict[int, list[dict[str, float]]] = {n: [] for n in FRAMES}
        for seed, fitted in heads.items():
            features, truth = stream(seed, script=script, encoder=encoder, classes=text.classes, n_parts=given.parts)
            scores = fitted.head.score(features)
            if given.keep is not None:
                name = given.keep / f"{seed}-{camera.split()[0]}.npz"
                np.savez(name, logits=scores.logits, truth=truth, temperature=fitted.temperature)
            found = list(judged(scores, truth=truth, temperature=fitted.temperature))
            for one in found:
                by_frames[int(one["frames"])].append({**one, "single": found[0]["accuracy"]})
            print(f"{camera}, line {seed}: {[round(one['accuracy'], 3) for one in found]}", file=sys.stderr, flush=True)
        print(f"\n{camera}\n\n| frames | accuracy, % | gain, points | rho | ECE measured | ECE rho 0 | ECE rho 1 |")
        print("|---|---|---|---|---|---|---|")
        for n, rows in by_frames.items():
            print(row(n, rows), flush=True)


if __name__ == "__main__":
    main()
