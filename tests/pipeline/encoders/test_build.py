"""The one entry: the right back-end, its text tower, its reference, and refusals that say what to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.encoders import demo_clip, golden
from pipeline.encoders.build import build_encoder
from pipeline.encoders.ladder import as_batch, default_ladder
from pipeline.errors import EncoderError
from tests.conftest import need
from tests.onnx_files import write_projection
from tests.tiny_models import SEED, SHALLOW, VIT, loaded, register


def test_torch_comes_with_text_ladder_and_reference() -> None:
    bundle = build_encoder(
        model=register(VIT), random_weights_seed=SEED, n_levels=4, threads=1, precision="fp32", batch_sizes=(1, 3)
    )
    assert torch.get_num_threads() == 1
    assert bundle.ladder == (1, 3)
    assert bundle.text is not None
    assert bundle.text.encode_texts(["a cap"]).shape == (1, bundle.image.info.embedding_dim)
    assert bundle.expected is not None
    assert len(bundle.expected.levels) == 4
    assert [bucket.size for bucket in bundle.check().buckets] == [1, 3]
    assert bundle.image.info.sha256 == loaded(VIT).sha256


def test_the_default_ladder_is_that_of_the_device() -> None:
    bundle = build_encoder(model=register(SHALLOW), random_weights_seed=SEED, device="auto", precision="fp32")
    assert bundle.ladder == default_ladder("cuda" if torch.cuda.is_available() else "cpu")


def test_onnx_has_no_text_and_no_levels(tmp_path: Path) -> None:
    write_projection(tmp_path / "a.onnx", n="n")
    bundle = build_encoder(backend="onnx", checkpoint=tmp_path / "a.onnx", batch_sizes=(1, 4))
    assert bundle.text is None
    assert bundle.expected is None
    assert bundle.image.info.level_dims == ()
    bundle.check()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be one of torch, openvino, onnx, got 'tensorrt'"),
        ({"backend": "openvino", "device": "cuda"}, "runs on the cpu only, got device cuda"),
        ({"backend": "onnx"}, "needs checkpoint"),
        ({"threads": 0}, "threads must be 1 or more, got 0"),
        ({"batch_sizes": (8, 4)}, "must be ascending"),
        ({"model": "ViT-B-32"}, "exactly one source of weights"),
    ],
)
def test_what_cannot_be_built_says_so(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        build_encoder(**wrong)


@pytest.mark.parametrize(("module", "extra"), [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_a_missing_extra_names_the_line_to_type(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as Python does for a module that is not there
    write_projection(tmp_path / "a.onnx", n="n")
    source: dict[str, Any] = {"checkpoint": tmp_path / "a.onnx"}
    if extra == "openvino":
        source = {"model": register(SHALLOW), "random_weights_seed": SEED}
    with pytest.raises(EncoderError, match=rf"pip install clearline\[{extra}\]"):
        build_encoder(backend=extra, **source)


def test_the_packaged_model_gives_its_stored_values_in_every_batch_size() -> None:
    need(demo_clip.WEIGHTS.is_file(), what="the weights of demo_clip", how="they come with the package")
    bundle = build_encoder(precision="fp32", n_levels=4)
    assert bundle.image.info.name == "demo_clip"
    assert bundle.image.info.embedding_dim == 128
    bundle.check()


def test_a_damaged_weight_of_the_packaged_model_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(demo_clip.WEIGHTS.is_file(), what="the weights of demo_clip", how="they come with the package")
    content = bytearray(demo_clip.WEIGHTS.read_bytes())
    content[-1000] ^= 0x10
    (tmp_path / "model.safetensors").write_bytes(content)
    monkeypatch.setattr(demo_clip, "WEIGHTS", tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match=rf"{golden.STORED_NAME}: the weights must have sha256"):
        build_encoder(precision="fp32")


ENCODE_IN_A_THREAD = """
import os, threading, sys
from pipeline.encoders.build import build_encoder
from pipeline.encoders.ladder import as_batch
from tests.tiny_models import register, random_pixels, SHALLOW
bundle = build_encoder(model=register(SHALLOW), random_weights_seed=0, threads=1, precision="fp32")
before = len(os.listdir("/proc/self/task"))
seen = []
def work():
    bundle.image.encode(as_batch(random_pixels(16, side=32)))
    seen.append(len(os.listdir("/proc/self/task")))
thread = threading.Thread(target=work); thread.start(); thread.join()
print(seen[0] - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to count threads")
def test_threads_holds_in_the_thread_that_encodes_too() -> None:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", ENCODE_IN_A_THREAD]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"], "the encoding thread itself and no other"


def test_results_do_not_depend_on_what_was_built_before() -> None:
    pixels = as_batch(golden.pictures(32))
    rows = [
        build_encoder(model=register(SHALLOW), random_weights_seed=SEED, precision="fp32").image.encode(pixels).image
        for _ in range(2)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
