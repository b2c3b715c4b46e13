"""Small open_clip models with seeded random weights, made once per test run."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from pipeline.encoders import golden
from pipeline.encoders.onnx_encoder import OnnxEncoder, OnnxSettings
from pipeline.encoders.open_clip_encoder import OpenClipEncoder, make_tower
from pipeline.encoders.open_clip_model import LoadedModel, import_open_clip, load_open_clip
from pipeline.encoders.openvino_encoder import OpenVinoEncoder
from pipeline.types import Features, UInt8Array
from tests.onnx_files import write_projection

VIT = "clearline-test-vit"
RESNET = "clearline-test-resnet"
SHALLOW = "clearline-test-shallow"
SEED = 3
OPENVINO_LADDER = (1, 3, 4)

_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
_VISION = {
    VIT: {"image_size": 64, "layers": 8, "width": 64, "head_width": 32, "patch_size": 16},
    RESNET: {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
    SHALLOW: {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
}


@functools.cache
def register(name: str) -> str:
    """Tell open_clip about one of the shapes above; open_clip names a model after its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps({"embed_dim": 32, "vision_cfg": _VISION[name], "text_cfg": _TEXT}))
        import_open_clip().add_model_config(path)
    return name


@functools.cache
def loaded(name: str) -> LoadedModel:
    torch.set_num_threads(1)  # models this small lose by more, and test machines are shared
    return load_open_clip(register(name), random_weights_seed=SEED)


@functools.cache
def torch_encoder(name: str, *, n_levels: int = 0) -> OpenClipEncoder:
    return OpenClipEncoder(loaded(name), n_levels=n_levels)


@functools.cache
def openvino_encoder() -> OpenVinoEncoder:
    return OpenVinoEncoder(loaded(VIT), n_levels=4, ladder=OPENVINO_LADDER, threads=1)


@functools.cache
def onnx_encoder(*, n: int | str) -> OnnxEncoder:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "projection.onnx"
        write_projection(path, n=n)
        return OnnxEncoder(path, settings=OnnxSettings(resize_to=0), threads=1)


@functools.cache
def expected(name: str, *, n_levels: int = 4) -> Features:
    """The golden pictures through fp32 torch, one by one."""
    tower = make_tower(loaded(name), device="cpu", precision="fp32", n_levels=n_levels)
    return golden.expected_features(tower, side=loaded(name).image_size)


def random_pixels(n: int, *, side: int, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, size=(n, side, side, 3), dtype=np.uint8)
