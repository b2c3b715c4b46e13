"""The image tower of an open_clip model compiled by OpenVINO: the faster way to run it on a CPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pipeline.encoders import golden
from pipeline.encoders.ladder import check_ladder, choose_bucket
from pipeline.encoders.open_clip_encoder import describe, make_tower
from pipeline.encoders.open_clip_model import LoadedModel
from pipeline.encoders.precision import PrecisionChoice, check_precision, choose_precision
from pipeline.encoders.tower import ImageTower, check_pixels
from pipeline.errors import EncoderError
from pipeline.types import Batch, EncoderInfo, Features, Float32Array, UInt8Array

DEFAULT_LADDER = (1, 2, 4, 8, 16)  # fewer sizes than torch takes: each compiled size holds a copy of the weights
_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVinoEncoder:
    """Same results, `info` and levels as OpenClipEncoder. One thread calls it; other sizes are padded to the next.

    The compiled model begins at uint8 pixels, so normalising has no second version.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        precision: str = "fp32",
        n_levels: int = 0,
        ladder: Sequence[int] | None = None,
        threads: int | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Blocks: converts, compiles every size, and compares each with torch in fp32.

        Raises EncoderError when OpenVINO is not installed or its results differ.
        """
        check_precision(precision)
        openvino = _import_openvino()
        self._ladder = check_ladder(ladder or DEFAULT_LADDER)
        tower = make_tower(loaded, device="cpu", precision="fp32", n_levels=n_levels)
        self._info = describe(loaded, tower=tower, device="cpu")
        expected = golden.expected_features(tower, side=loaded.image_size)
        self._compiler = _Compiler(openvino, tower, side=loaded.image_size, threads=threads)
        self.precision = PrecisionChoice(precision)
        if precision == "auto":
            self.precision = self._compiler.choose(now=now)
        chosen = self.precision.precision
        self._programs = {size: self._compiler.compile(size, precision=chosen) for size in self._ladder}
        golden.check(self, self._ladder, expected=expected, precision=chosen)

    @property
    def info(self) -> EncoderInfo:
        """Identity, sizes and preprocessing: those of the torch model, whose weights these are."""
        return self._info

    def encode(self, batch: Batch) -> Features:
        """(B,S,S,3) uint8 -> unit embeddings and the levels asked for. Blocks."""
        check_pixels(batch.pixels, info=self._info)
        n = len(batch.pixels)
        bucket = choose_bucket(n, ladder=self._ladder)
        pixels = batch.pixels
        if bucket > n:
            pixels = np.concatenate([pixels, np.zeros((bucket - n, *pixels.shape[1:]), dtype=np.uint8)])
        image, *levels = _infer(self._programs[bucket], pixels)
        return Features(image=image, levels=tuple(levels)).rows(n)


class _Compiler:
    """A converted tower, ready to be compiled for a size and a precision."""

    def __init__(self, openvino: ModuleType, tower: ImageTower, *, side: int, threads: int | None) -> None:
        self._core = openvino.Core()
        self._side = side
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        fast_path = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # its fused operator cannot be converted
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what tracing says about sizes: every size is checked afterwards
                self._model = openvino.convert_model(tower, example_input=self._zeros(2))
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)

    def compile(self, size: int, *, precision: str) -> Any:
        """A program for exactly `size` rows."""
        model = self._model.clone()
        model.reshape([size, self._side, self._side, 3])
        # Without the hint OpenVINO computes in bf16 by itself where the CPU can.
        return self._core.compile_model(model, "CPU", {**self._options, "INFERENCE_PRECISION_HINT": _TYPES[precision]})

    def choose(self, *, now: Callable[[], float]) -> PrecisionChoice:
        """fp32 or bf16, by measurement; fp32 unmeasured where the CPU has no bf16."""
        if "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return PrecisionChoice("fp32")

        def embed(precision: str) -> Callable[[UInt8Array], Float32Array]:
            program = self.compile(golden.N_PICTURES, precision=precision)
            return lambda pixels: _infer(program, pixels)[0]

        return choose_precision(embed("fp32"), embed("bf16"), pictures=golden.pictures(self._side), now=now)

    def _zeros(self, size: int) -> torch.Tensor:
        return torch.zeros((size, self._side, self._side, 3), dtype=torch.uint8)


def _infer(program: Any, pixels: UInt8Array) -> list[Float32Array]:
    """Results in arrays of their own: OpenVINO's are reused by the next call."""
    return [np.array(value, dtype=np.float32) for value in program(pixels).values()]


def _import_openvino() -> ModuleType:
    try:
        import openvino
    except ImportError as error:
        raise EncoderError("the openvino back-end needs OpenVINO: pip install clearline[openvino]") from error
    return openvino  # type: ignore[no-any-return]  # openvino is not typed for us
