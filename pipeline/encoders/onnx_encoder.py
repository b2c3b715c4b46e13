"""Any image encoder that comes as an ONNX file: no text tower and no levels, sizes read from the graph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.encoders.tower import Normalise, check_pixels
from pipeline.errors import EncoderError
from pipeline.types import Batch, EncoderInfo, Features, Float32Array


@dataclass(frozen=True, slots=True)
class OnnxSettings:
    """What an ONNX file does not say about itself. The defaults are MobileNet's: value / 127.5 - 1, 256 then 224."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)  # of values in 0..1
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resize_to: int = 256  # shortest side before the centre crop; 0 means the input size of the graph
    resize_mode: str = "shortest"
    interpolation: str = "bilinear"
    output: str = ""  # name of the embedding; empty: "embedding", or the only output with two axes
    image_size: int = 0  # only where the graph leaves its input size open


class OnnxEncoder:
    """An ONNX image encoder on the CPU. One thread calls it.

    Input (N,3,S,S) float32; N may be fixed (batches are then cut and padded) or open. External weight files beside
    the graph are loaded but are no part of `info.sha256`.
    """

    def __init__(self, path: Path, *, settings: OnnxSettings | None = None, threads: int | None = None) -> None:
        """Blocks while the graph is loaded and run once. `threads` None leaves the choice to onnxruntime."""
        settings = settings or OnnxSettings()
        if not path.is_file():
            raise EncoderError(f"ONNX encoder: expected a file, got {path}")
        self._session = _open(path, threads=threads)
        self._input, self._n_fixed, side = _input_of(self._session, path=path, image_size=settings.image_size)
        self._output = _output_of(self._session, path=path, wanted=settings.output)
        self._normalise = Normalise(mean=settings.mean, std=settings.std)
        dry = self._run(np.zeros((1, side, side, 3), dtype=np.uint8))
        if dry.ndim != 2 or len(dry) != 1:
            raise EncoderError(f"{path}: output {self._output} must be (N,D), got {dry.shape} for one picture")
        self._info = EncoderInfo(
            name=path.stem,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            image_size=side,
            embedding_dim=dry.shape[1],
            level_dims=(),
            mean=settings.mean,
            std=settings.std,
            resize_mode=settings.resize_mode,
            interpolation=settings.interpolation,
            has_text=False,
            resize_to=settings.resize_to,
        )

    @property
    def info(self) -> EncoderInfo:
        """Identity, sizes and preprocessing."""
        return self._info

    def encode(self, batch: Batch) -> Features:
        """(B,S,S,3) uint8 -> unit embeddings, no levels. Blocks."""
        check_pixels(batch.pixels, info=self._info)
        step = self._n_fixed or len(batch.pixels)
        rows = [self._run(batch.pixels[i : i + step]) for i in range(0, len(batch.pixels), step)]
        embeddings = np.concatenate(rows)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return Features(image=(embeddings / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32))

    @torch.no_grad()
    def _run(self, pixels: np.ndarray) -> Float32Array:
        n = len(pixels)
        if self._n_fixed > n:
            pixels = np.concatenate([pixels, np.zeros((self._n_fixed - n, *pixels.shape[1:]), dtype=np.uint8)])
        # (N,3,S,S) in C order: onnxruntime knows no channels-last memory.
        inputs = self._normalise(torch.from_numpy(pixels)).contiguous().numpy()
        outputs: Float32Array = self._session.run([self._output], {self._input: inputs})[0]
        return outputs[:n]


def _open(path: Path, *, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EncoderError("the onnx back-end needs onnxruntime: pip install clearline[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen unrelated classes for a file it cannot read
        raise EncoderError(f"{path}: onnxruntime cannot load it: {error}") from error


def _input_of(session: Any, *, path: Path, image_size: int) -> tuple[str, int, int]:
    """(name, fixed batch size or 0, side)."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        got = [(value.name, value.shape, value.type) for value in inputs]
        raise EncoderError(f"{path}: expected one input (N,3,S,S) of tensor(float), got {got}")
    n, channels, *sides = inputs[0].shape
    height, width = (side if isinstance(side, int) else image_size for side in sides)
    if channels not in (3, None) and isinstance(channels, int):
        raise EncoderError(f"{path}: expected 3 channels after the batch axis, got {inputs[0].shape}")
    if height != width or height < 1:
        raise EncoderError(f"{path}: expected a square input, got {inputs[0].shape}; give image_size where it is open")
    if image_size not in (0, height):
        raise EncoderError(f"{path}: the graph takes {height} pixels, got image_size {image_size}")
    return inputs[0].name, n if isinstance(n, int) else 0, height


def _output_of(session: Any, *, path: Path, wanted: str) -> str:
    outputs: Sequence[Any] = session.get_outputs()
    names: list[str] = [value.name for value in outputs]
    if wanted:
        if wanted not in names:
            raise EncoderError(f"{path}: output must be one of {names}, got {wanted!r}")
        return wanted
    flat = [value.name for value in outputs if len(value.shape) == 2]
    if "embedding" in names:
        return "embedding"
    if len(flat) != 1:
        raise EncoderError(f"{path}: expected an output named embedding or one with two axes, got {names}; name it")
    return str(flat[0])
