"""All heads at 1, 5 and 10 shots on the simulator and on three folders of photos, as Markdown: one command.

    python -m tests.benchmarks.head_tables [--sets simulator,demo,mobilenet] [--heads auto,...] [--out ROWS.jsonl]

`simulator` and `demo` encode pictures with the shipped small CLIP and the shipped texts (the cookies have none);
`mobilenet` goes through a features file, as `clearline head eval --features` reads it. Support pictures are drawn from
the rows that the folder's index.csv calls support, and the query rows judge; on the simulator a draw is another line.
`--out` keeps one JSON row per set, head and shots, and heads that are already in it are not fitted again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pipeline.encoders.build import EncoderBundle, build_encoder
from pipeline.errors import DataError
from pipeline.evaluation.features_file import FeaturesFile, LabelledRows, load_features_file
from pipeline.evaluation.protocol import evaluate
from pipeline.heads.fit import KINDS
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.coding import encode_dictionary
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Features
from tests.benchmarks.line_accuracy import FIRST_QUERY, LINE_SEEDS, N_QUERIES, encode
from tests.benchmarks.make_features import Picture, arrays, listed
from tests.benchmarks.make_features import encode as encode_onnx
from tests.conftest import SHARED_DATA
from workers.commands.head_support import coder_of

TEXTS = Path(__file__).parents[2] / "configs" / "texts"
FOLDERS = {"trashnet-subset": "waste_sorting.yaml", "deeppcb-crops": "pcb.yaml", "aws-cookies": None}
SETS = ("simulator", "demo", "mobilenet")
HEADS = ",".join(kind for kind in KINDS if kind != "pool")  # pools are `pool_guards`' business
COLUMNS = ("accuracy", "sd", "ece", "fit_seconds", "inference_microseconds")


@dataclass(frozen=True, eq=False)
class Source:
    """A set by name; `seeds` draws of each of its files."""

    name: str
    files: tuple[FeaturesFile, ...]
    seeds: int


def simulator(*, n_seeds: int, max_shots: int) -> Source:
    """Lines that neither trained the encoder nor chose anything; every line is one draw."""
    encoder = build_encoder(precision="fp32", n_levels=4)
    files = []
    for number in list(LINE_SEEDS)[:n_seeds]:
        line = SimulatedLine(number, width=640, height=480)
        classes = load_dictionary(TEXTS / "demo.yaml").class_ids
        parts = []
        for first, n in ((0, max_shots), (FIRST_QUERY, N_QUERIES)):
            drawn = [line.sample(c, number=first + i).image for c in classes for i in range(n)]
            parts.append(_rows(encode(encoder, drawn), y=np.repeat(np.arange(len(classes)), n)))
        files.append(_file(f"line {number}", parts=parts, encoder=encoder, texts="demo.yaml", classes=classes))
    return Source("simulator, demo encoder", files=tuple(files), seeds=1)


def demo(name: str, *, n_seeds: int) -> Source:
    """A folder of photos through the demo encoder."""
    encoder = build_encoder(precision="fp32", n_levels=4)
    pictures = listed(SHARED_DATA / name, query_share=0.5)
    classes = tuple(sorted({p.classname for p in pictures}))
    parts = []
    for role in ("support", "query"):
        few = [p for p in pictures if p.role == role]
        found = encode(encoder, [cv2.imread(str(p.file)) for p in few])
        parts.append(_rows(found, y=np.array([classes.index(p.classname) for p in few]), pictures=few))
    file = _file(name, parts=parts, encoder=encoder, texts=FOLDERS[name], classes=classes)
    return Source(f"{name}, demo encoder", files=(file,), seeds=n_seeds)


def mobilenet(name: str, *, n_seeds: int) -> Source:
    """A folder of photos through MobileNetV2 and a features file; the halves of the query rows are joined again."""
    pictures = listed(SHARED_DATA / name, query_share=0.5)
    model = SHARED_DATA / "mobilenetv2-imagenet" / "mobilenetv2_1.0_224.onnx"
    made = arrays(pictures, x=encode_onnx(pictures, model=model))
    for part in ("x", "y", "group"):
        made[f"test_{part}"] = np.concatenate([made.pop(f"val_{part}"), made[f"test_{part}"]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.npz"
        np.savez_compressed(path, **made)  # type: ignore[arg-type]  # numpy types the keyword allow_pickle too
        return Source(f"{name}, MobileNetV2 features", files=(load_features_file(path),), seeds=n_seeds)


def _rows(features: Features, *, y: np.ndarray, pictures: list[Picture] | None = None) -> LabelledRows:
    groups = np.arange(y.size)
    if pictures is not None:
        groups = np.unique([p.source for p in pictures], return_inverse=True)[1]
    return LabelledRows(x=features.image, y=y.astype(np.int64), groups=groups.astype(np.int64), levels=features.levels)


def _file(
    name: str, *, parts: list[LabelledRows], encoder: EncoderBundle, texts: str | None, classes: tuple[str, ...]
) -> FeaturesFile:
    text = coder = None
    if texts is not None and encoder.text is not None:
        dictionary = load_dictionary(TEXTS / texts).ordered_as(classes, folder=name)
        text = build_zero_shot(dictionary, encoder=encoder.text)
        coder = coder_of(encode_dictionary(dictionary, encoder=encoder.text))
    return FeaturesFile(
        path=Path(name), classes=classes, train={0: parts[0]}, test=parts[1], val=None, text=text, coder=coder
    )


def measured(source: Source, *, head: str, shots: int) -> dict[str, Any]:
    """Mean over all draws; `why` instead of figures where the head needs what the set has not."""
    accuracies: list[float] = []
    kept: list[list[float]] = []
    for file in source.files:
        try:
            row = evaluate(file, heads=(head,), shots=shots, seeds=source.seeds, pool=None, timer=time.perf_counter)[0]
        except DataError as error:
            return {"set": source.name, "head": head, "shots": shots, "why": str(error)}
        accuracies += row.accuracies
        kept.append([getattr(row, column) for column in COLUMNS])
    means = dict(zip(COLUMNS, np.mean(kept, axis=0).tolist(), strict=True))
    sd = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
    means |= {"accuracy": float(np.mean(accuracies)), "sd": sd, "n_draws": len(accuracies)}
    return {"set": source.name, "head": head, "shots": shots, **means}


def opened(names: list[str], *, n_seeds: int, max_shots: int) -> Iterator[Source]:
    """The sets asked for, one after the other."""
    if "simulator" in names:
        yield simulator(n_seeds=n_seeds, max_shots=max_shots)
    for name in FOLDERS:
        if "demo" in names:
            yield demo(name, n_seeds=n_seeds)
        if "mobilenet" in names:
            yield mobilenet(name, n_seeds=n_seeds)


def table(rows: list[dict[str, Any]]) -> str:
    """One Markdown table per set: accuracy with SD at each number of shots, ECE and seconds at the largest."""
    out = []
    for name in dict.fromkeys(row["set"] for row in rows):
        here = [row for row in rows if row["set"] == name]
        shots = sorted({row["shots"] for row in here})
        out += [f"### {name}", "", f"| head | {' | '.join(f'{k} shots' for k in shots)} | ECE | fit s | us/image |"]
        out.append("|---" * (len(shots) + 4) + "|")
        for head in dict.fromkeys(row["head"] for row in here):
            own = {row["shots"]: row for row in here if row["head"] == head and "why" not in row}
            cells = [f"{own[k]['accuracy']:.3f} ± {own[k]['sd']:.3f}" if k in own else "needs texts" for k in shots]
            last = own.get(shots[-1])
            tail = ["", "", ""]
            if last is not None:
                tail = [f"{last['ece']:.3f}", f"{last['fit_seconds']:.2f}", f"{last['inference_microseconds']:.0f}"]
            out.append(f"| {head} | {' | '.join([*cells, *tail])} |")
        out.append("")
    return "\n".join(out)


def main() -> None:
    """Measures what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--heads", default=HEADS)
    parser.add_argument("--shots", default="1,5,10")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shots = [int(k) for k in given.shots.split(",")]
    kept = given.out.read_text().splitlines() if given.out is not None and given.out.exists() else []
    rows = [json.loads(line) for line in kept]
    known = {(row["set"], row["head"], row["shots"]) for row in rows}
    for source in opened(given.sets.split(","), n_seeds=given.seeds, max_shots=max(shots)):
        for head in given.heads.split(","):
            for k in shots:
                if (source.name, head, k) in known:
                    continue
                rows.append(measured(source, head=head, shots=k))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                if given.out is not None:
                    given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows))


if __name__ == "__main__":
    main()
