"""Builds the encoder that a configuration names, with its text tower and what the readiness check compares with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.encoders import golden
from pipeline.encoders.ladder import check_ladder, default_ladder, landmarks
from pipeline.encoders.onnx_encoder import OnnxEncoder, OnnxSettings
from pipeline.encoders.open_clip_encoder import OpenClipEncoder, OpenClipTextEncoder, make_tower
from pipeline.encoders.open_clip_model import DEMO_CLIP, LoadedModel, load_open_clip
from pipeline.encoders.openvino_encoder import DEFAULT_LADDER, OpenVinoEncoder
from pipeline.encoders.precision import PrecisionChoice
from pipeline.errors import EncoderError
from pipeline.interfaces import Encoder, TextEncoder
from pipeline.types import Features

BACKENDS = ("torch", "openvino", "onnx")


@dataclass(frozen=True, slots=True)
class EncoderBundle:
    """An encoder and what belongs to it."""

    image: Encoder
    text: TextEncoder | None  # None for ONNX files
    ladder: tuple[int, ...]  # batch sizes it is prepared for
    precision: PrecisionChoice
    expected: Features | None  # of the golden pictures, fp32, one by one; None for ONNX files

    def check(self) -> golden.GoldenReport:
        """The readiness check at the landmarks of the ladder; raises EncoderError with the figures. Blocks."""
        return golden.check(
            self.image, landmarks(self.ladder), expected=self.expected, precision=self.precision.precision
        )


def build_encoder(
    *,
    backend: str = "torch",
    model: str = DEMO_CLIP,
    pretrained: str | None = None,
    checkpoint: Path | None = None,
    random_weights_seed: int | None = None,
    device: str = "cpu",
    precision: str = "auto",
    threads: int = 1,
    n_levels: int = 0,
    batch_sizes: Sequence[int] | None = None,
    onnx: OnnxSettings | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> EncoderBundle:
    """Load weights, choose a precision, prepare every batch size. Blocks; call `check` before the first frame.

    `device` "auto" takes CUDA where there is one. `threads` is for the whole process with torch, for the
    encoder alone with openvino and onnx. For onnx, `checkpoint` is the file and `model` is ignored.
    """
    if device == "auto":
        device = "cuda" if backend == "torch" and torch.cuda.is_available() else "cpu"
    _check(backend, device=device, checkpoint=checkpoint, n_levels=n_levels, threads=threads)
    # beside another runtime torch only cuts pictures, and idle threads of its own spin: 10 ms of CPU a frame
    torch.set_num_threads(threads if backend == "torch" else 1)
    ladder = check_ladder(batch_sizes or (DEFAULT_LADDER if backend == "openvino" else default_ladder(device)))
    if backend == "onnx":
        assert checkpoint is not None  # _check has seen to it
        return _onnx(checkpoint, settings=onnx, threads=threads, ladder=ladder)
    loaded = load_open_clip(
        model, pretrained=pretrained, checkpoint=checkpoint, random_weights_seed=random_weights_seed
    )
    expected = _expected(loaded, n_levels=n_levels, is_demo=model == DEMO_CLIP)
    image: OpenClipEncoder | OpenVinoEncoder
    if backend == "openvino":
        image = OpenVinoEncoder(loaded, precision=precision, n_levels=n_levels, ladder=ladder, threads=threads, now=now)
    else:
        image = OpenClipEncoder(loaded, device=device, precision=precision, n_levels=n_levels, ladder=ladder, now=now)
    text = OpenClipTextEncoder(loaded)
    return EncoderBundle(image=image, text=text, ladder=ladder, precision=image.precision, expected=expected)


def _check(backend: str, *, device: str, checkpoint: Path | None, n_levels: int, threads: int) -> None:
    if backend not in BACKENDS:
        raise EncoderError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend != "torch" and device != "cpu":
        raise EncoderError(f"backend {backend} runs on the cpu only, got device {device}")
    if backend == "onnx" and (checkpoint is None or n_levels):
        raise EncoderError(f"backend onnx needs checkpoint (the file) and n_levels 0, got {checkpoint}, {n_levels}")
    if threads < 1:
        raise EncoderError(f"threads must be 1 or more, got {threads}")


def _onnx(path: Path, *, settings: OnnxSettings | None, threads: int, ladder: tuple[int, ...]) -> EncoderBundle:
    image = OnnxEncoder(path, settings=settings, threads=threads)
    return EncoderBundle(image=image, text=None, ladder=ladder, precision=PrecisionChoice("fp32"), expected=None)


def _expected(loaded: LoadedModel, *, n_levels: int, is_demo: bool) -> Features:
    """The reference for the readiness check; for the packaged model also compared with what is stored beside it."""
    tower = make_tower(loaded, device="cpu", precision="fp32", n_levels=n_levels)
    expected = golden.expected_features(tower, side=loaded.image_size)
    if is_demo:
        from pipeline.encoders import demo_clip

        golden.check_stored(demo_clip.MODEL_DIR / golden.STORED_NAME, expected=expected, sha256=loaded.sha256)
    return expected
