"""ONNX files: what is read from the graph, what must be said, and real photos through a real network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.encoders.ladder import as_batch
from pipeline.encoders.onnx_encoder import OnnxEncoder, OnnxSettings
from pipeline.errors import EncoderError
from pipeline.preprocess import Preprocessor
from pipeline.types import Roi
from tests.onnx_files import write_projection
from tests.tiny_models import random_pixels


@pytest.mark.parametrize("n", [3, 1, "n"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_fixed_and_open_batches_give_the_same_rows(tmp_path: Path, n: int | str, size: int) -> None:
    weight = write_projection(tmp_path / "a.onnx", n=n)
    pixels = random_pixels(size, side=8)
    got = OnnxEncoder(tmp_path / "a.onnx").encode(as_batch(pixels)).image
    flat = (pixels.transpose(0, 3, 1, 2).reshape(size, -1).astype(np.float64) / 127.5 - 1.0) @ weight
    np.testing.assert_allclose(got, flat / np.linalg.norm(flat, axis=1, keepdims=True), atol=1e-5)


def test_its_identity_is_the_file_and_its_sizes_are_the_graphs(tmp_path: Path) -> None:
    path = tmp_path / "caps.onnx"
    write_projection(path, n="n", side=16, dim=5)
    info = OnnxEncoder(path).info
    assert info.name == "caps"
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (info.image_size, info.embedding_dim, info.level_dims, info.has_text) == (16, 5, (), False)


def test_a_graph_that_leaves_its_input_size_open_needs_it_said(tmp_path: Path) -> None:
    write_projection(tmp_path / "a.onnx", n="n", side="side")
    with pytest.raises(EncoderError, match="give image_size"):
        OnnxEncoder(tmp_path / "a.onnx")
    assert OnnxEncoder(tmp_path / "a.onnx", settings=OnnxSettings(image_size=8)).info.image_size == 8


def test_another_input_size_than_the_graphs_is_refused(tmp_path: Path) -> None:
    write_projection(tmp_path / "a.onnx", n="n", side=8)
    with pytest.raises(EncoderError, match="takes 8 pixels, got image_size 16"):
        OnnxEncoder(tmp_path / "a.onnx", settings=OnnxSettings(image_size=16))


def test_the_output_is_embedding_or_the_only_one_or_the_one_named(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    pixels = as_batch(random_pixels(2, side=8))
    write_projection(path, n="n", outputs=("logits", "embedding"))
    reference = OnnxEncoder(path).encode(pixels).image
    write_projection(path, n="n", outputs=("pooled",))
    np.testing.assert_array_equal(OnnxEncoder(path).encode(pixels).image, reference)
    write_projection(path, n="n", outputs=("a", "b"))
    with pytest.raises(EncoderError, match=r"got \['a', 'b'\]; name it"):
        OnnxEncoder(path)
    np.testing.assert_array_equal(OnnxEncoder(path, settings=OnnxSettings(output="b")).encode(pixels).image, reference)
    with pytest.raises(EncoderError, match=r"output must be one of \['a', 'b'\], got 'c'"):
        OnnxEncoder(path, settings=OnnxSettings(output="c"))


def test_a_missing_or_broken_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"expected a file, got .*gone\.onnx"):
        OnnxEncoder(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(EncoderError, match=r"bad\.onnx: onnxruntime cannot load it"):
        OnnxEncoder(tmp_path / "bad.onnx")


def test_mobilenet_names_what_is_on_real_photos(shared_data: Path) -> None:
    folder = shared_data / "mobilenetv2-imagenet"
    encoder = OnnxEncoder(folder / "mobilenetv2_1.0_224.onnx", settings=OnnxSettings(output="logits"), threads=1)
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    process = Preprocessor(encoder.info, Roi())
    photos = {"hot_dog.jpg": "hotdog", "dragonfly.png": "dragonfly", "cat_720p.jpg": "Egyptian cat"}
    photos |= {"bird.png": "chickadee", "pets.jpg": "Italian greyhound"}
    pixels = np.stack([process(cv2.imread(str(folder / "photos" / name))) for name in photos])
    top = encoder.encode(as_batch(pixels)).image.argmax(axis=1)
    assert [labels[index].split(",")[0] for index in top] == list(photos.values())
