"""Pictures per second of every way to run an image tower, taken in turn so that a busy machine hurts all alike.

Prints JSON: `python -m tests.benchmarks.bench_encoders --model ViT-B-32 --threads 1`. Trust the ratios, not the rates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from pipeline.encoders import golden
from pipeline.encoders.ladder import as_batch
from pipeline.encoders.onnx_encoder import OnnxEncoder
from pipeline.encoders.open_clip_encoder import OpenClipEncoder, make_tower
from pipeline.encoders.open_clip_model import DEMO_CLIP, load_open_clip
from pipeline.encoders.openvino_encoder import OpenVinoEncoder
from pipeline.encoders.precision import centred_cosine
from pipeline.interfaces import Encoder
from pipeline.types import Float32Array, UInt8Array

BASELINE = "torch fp32"


def make_encoders(
    *, model: str, seed: int, sizes: tuple[int, ...], threads: int
) -> tuple[dict[str, Encoder], Float32Array]:
    """Every back-end of one model, and what fp32 torch says about the golden pictures."""
    loaded = load_open_clip(model, random_weights_seed=None if model == DEMO_CLIP else seed)
    tower = make_tower(loaded, device="cpu", precision="fp32", n_levels=0)
    expected = golden.expected_features(tower, side=loaded.image_size)
    encoders: dict[str, Encoder] = {
        BASELINE: OpenClipEncoder(loaded),
        "torch fp32 levels": OpenClipEncoder(loaded, n_levels=4),
        "torch bf16": OpenClipEncoder(loaded, precision="bf16"),
        "openvino fp32": OpenVinoEncoder(loaded, ladder=sizes, threads=threads),
    }
    return encoders, expected.image


def rates(encoders: dict[str, Encoder], *, size: int, n_repeats: int) -> dict[str, float]:
    """Median pictures per second; one unmeasured batch each first."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    batches = {name: as_batch(_pixels(encoder, size=size)) for name, encoder in encoders.items()}
    for repeat in range(n_repeats + 1):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder.encode(batches[name])
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: size / statistics.median(values) for name, values in seconds.items()}


def _pixels(encoder: Encoder, *, size: int) -> UInt8Array:
    pictures = golden.pictures(encoder.info.image_size)
    rows: UInt8Array = pictures[[index % len(pictures) for index in range(size)]]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_CLIP)
    parser.add_argument("--onnx", type=Path, default=None, help="an ONNX file to measure beside it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 16])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = tuple(options.sizes)
    encoders, expected = make_encoders(model=options.model, seed=0, sizes=sizes, threads=options.threads)
    pictures = as_batch(golden.pictures(encoders[BASELINE].info.image_size))
    cosines = {
        name: round(float(centred_cosine(expected, encoder.encode(pictures).image).min()), 6)
        for name, encoder in encoders.items()
    }
    if options.onnx is not None:
        encoders[f"onnx {options.onnx.stem}"] = OnnxEncoder(options.onnx, threads=options.threads)
    report = {}
    for size in sizes:
        measured = rates(encoders, size=size, n_repeats=options.repeats)
        base = measured[BASELINE]
        report[size] = {
            name: {"per_second": round(rate, 2), "ratio": round(rate / base, 3)} for name, rate in measured.items()
        }
    print(
        json.dumps({"model": options.model, "threads": options.threads, "cosine": cosines, "batch": report}, indent=1)
    )


if __name__ == "__main__":
    main()
