"""Makes a features file for `clearline head eval` from a folder of images and an ONNX image encoder.

    python tests/benchmarks/make_features.py IMAGES --model encoder.onnx --out /somewhere/features.npz

IMAGES holds either `index.csv` (columns file, role, label, classname and optionally source_image; roles support and
query) or one folder of images per class. Support rows become `train_x`, from which `head eval` draws its shots; half of
the query rows of every class become `val_x`, the other half `test_x`.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.preprocess import Preprocessor
from pipeline.types import EncoderInfo, Float32Array, Roi

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
BATCH = 16
MOBILENET = EncoderInfo(
    name="mobilenetv2_1.0_224",
    sha256="",
    image_size=224,
    embedding_dim=1280,
    level_dims=(),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    resize_mode="shortest",
    interpolation="bilinear",
    has_text=False,
    resize_to=256,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture on disk."""

    file: Path
    role: str  # support | query
    classname: str
    source: str  # the picture it was cut from; itself where nothing says otherwise


def listed(folder: Path, *, query_share: float) -> list[Picture]:
    """What `index.csv` says, or one class per sub-folder with the last `query_share` of each as queries."""
    index = folder / "index.csv"
    if index.exists():
        rows = csv.DictReader(index.read_text(encoding="utf-8").splitlines())
        return [
            Picture(folder / r["file"], r["role"], r["classname"], r.get("source_image") or r["file"]) for r in rows
        ]
    pictures = []
    for directory in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(p for p in directory.iterdir() if p.suffix.lower() in SUFFIXES)
        first_query = round(len(files) * (1.0 - query_share))
        for i, file in enumerate(files):
            role = "support" if i < first_query else "query"
            pictures.append(Picture(file, role, directory.name, str(file.relative_to(folder))))
    return pictures


def encode(pictures: list[Picture], *, model: Path) -> Float32Array:
    """(N, D) unit rows of the model's `embedding` output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    prepare = Preprocessor(MOBILENET, Roi())
    out = []
    for start in range(0, len(pictures), BATCH):
        images = [cv2.imread(str(p.file), cv2.IMREAD_COLOR) for p in pictures[start : start + BATCH]]
        pixels = np.stack([prepare(image) for image in images]).astype(np.float32) / 127.5 - 1.0
        out.append(session.run(["embedding"], {"pixel_values": pixels.transpose(0, 3, 1, 2)})[0])
    x = np.concatenate(out).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def arrays(pictures: list[Picture], *, x: Float32Array) -> dict[str, np.ndarray]:
    """The arrays of the file; every second query row of a class goes to `val`."""
    names = sorted({p.classname for p in pictures})
    y = np.array([names.index(p.classname) for p in pictures], dtype=np.int64)
    role = np.array([p.role for p in pictures])
    place = np.zeros(y.size, dtype=np.int64)
    for c in range(len(names)):
        rows = np.flatnonzero((y == c) & (role == "query"))
        place[rows] = np.arange(rows.size)
    parts = {
        "train": role == "support",
        "val": (role == "query") & (place % 2 == 1),
        "test": (role == "query") & (place % 2 == 0),
    }
    out: dict[str, np.ndarray] = {"classnames": np.array(names)}
    _, source = np.unique(np.array([p.source for p in pictures]), return_inverse=True)
    for part, rows in parts.items():
        out |= {f"{part}_x": x[rows], f"{part}_y": y[rows], f"{part}_group": source[rows]}
    return out


def main() -> None:
    """Reads the pictures, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="ONNX with pixel_values in and embedding out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--query-share", type=float, default=0.5, help="for class folders without index.csv")
    arguments = parser.parse_args()
    pictures = listed(arguments.images, query_share=arguments.query_share)
    made = arrays(pictures, x=encode(pictures, model=arguments.model))
    np.savez_compressed(arguments.out, **made)  # type: ignore[arg-type]  # numpy types the keyword allow_pickle too
    print(f"{arguments.out}: " + ", ".join(f"{name} {value.shape}" for name, value in made.items()))


if __name__ == "__main__":
    main()
