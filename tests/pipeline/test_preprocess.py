"""Crop and resize against open_clip's own transform, and what a wrong region says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.encoders.ladder import as_batch
from pipeline.encoders.open_clip_model import import_open_clip
from pipeline.encoders.precision import centred_cosine
from pipeline.errors import BadFrame, ConfigError
from pipeline.preprocess import Preprocessor
from pipeline.types import EncoderInfo, Roi, UInt8Array
from tests.tiny_models import VIT, torch_encoder

TOLERANCE = 2  # grey levels of 255: 16-bit filter weights, and a cut edge 0.001 pixels beside the grid
SIZES = [
    (1080, 1920),
    (480, 640),
    (97, 1283),
    (331, 517),
    (50, 77),
    (3, 9),
    (96, 300),
    (225, 227),
    (719, 1281),
    (96, 96),
]


def make_info(side: int, *, mode: str = "shortest", interpolation: str = "bicubic", resize_to: int = 0) -> EncoderInfo:
    return EncoderInfo(
        name="any",
        sha256="0" * 64,
        image_size=side,
        embedding_dim=1,
        level_dims=(),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize_mode=mode,
        interpolation=interpolation,
        has_text=False,
        resize_to=resize_to,
    )


def make_picture(height: int, width: int, *, kind: str = "noise") -> UInt8Array:
    rng = np.random.default_rng(height * 10_000 + width)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    blocks = rng.integers(0, 2, (height // 7 + 1, width // 7 + 1, 3), dtype=np.uint8) * 255
    return np.ascontiguousarray(np.repeat(np.repeat(blocks, 7, axis=0), 7, axis=1)[:height, :width])


def open_clip_pixels(
    bgr: UInt8Array, *, side: int, mode: str = "shortest", interpolation: str = "bicubic"
) -> np.ndarray:
    """What open_clip's transform gives before it normalises, as (S,S,3) grey levels."""
    import_open_clip()
    from open_clip.transform import image_transform

    transform = image_transform(
        side, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation=interpolation
    )
    tensor: torch.Tensor = transform(Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1])))
    return (tensor.numpy().transpose(1, 2, 0) * 255).round().astype(int)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("side", [96, 224])
def test_it_agrees_with_open_clip_over_wide_pictures(side: int, mode: str, size: tuple[int, int]) -> None:
    for kind, interpolation in (("noise", "bicubic"), ("blocks", "bicubic"), ("noise", "bilinear")):
        picture = make_picture(*size, kind=kind)
        expected = open_clip_pixels(picture, side=side, mode=mode, interpolation=interpolation)
        got = Preprocessor(make_info(side, mode=mode, interpolation=interpolation), Roi())(picture)
        assert np.abs(got.astype(int) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def test_tall_pictures_are_resized_across_then_down_as_every_pillow_before_13_does(size: tuple[int, int]) -> None:
    """Pillow 13 goes down first where that is less work, which clips other overshoots; ours never depends on it."""
    width, height = size
    picture = make_picture(height, width)
    rows, columns = (int(96 * n / min(size)) for n in (height, width))
    across = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).resize(
        (columns, height), Image.Resampling.BICUBIC
    )
    whole = np.asarray(across.resize((columns, rows), Image.Resampling.BICUBIC)).astype(int)
    top, left = round((rows - 96) / 2), round((columns - 96) / 2)
    got = Preprocessor(make_info(96), Roi())(picture)
    assert np.abs(got - whole[top : top + 96, left : left + 96]).max() <= TOLERANCE


def test_a_longer_resize_before_the_crop_agrees_with_torchvision() -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    picture = make_picture(480, 640)
    transform = Compose([Resize(256, interpolation=InterpolationMode.BILINEAR), CenterCrop(224)])
    expected = np.asarray(transform(Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])))).astype(int)
    got = Preprocessor(make_info(224, interpolation="bilinear", resize_to=256), Roi())(picture)
    assert np.abs(got - expected).max() <= TOLERANCE


def test_embeddings_of_real_photos_agree_with_open_clips_own_transform(shared_data: Path) -> None:
    paths = sorted((shared_data / "caltech101-paired" / "images").glob("*/*.jpg"))[::8]
    encoder = torch_encoder(VIT)
    side = encoder.info.image_size
    pictures = [cv2.imread(str(path)) for path in paths]
    assert any(picture.shape[0] > picture.shape[1] for picture in pictures)
    ours = np.stack([Preprocessor(encoder.info, Roi())(picture) for picture in pictures])
    theirs = np.stack([open_clip_pixels(picture, side=side).astype(np.uint8) for picture in pictures])
    got, expected = (encoder.encode(as_batch(pixels)).image for pixels in (ours, theirs))
    assert (got * expected).sum(axis=1).min() >= 0.999
    assert centred_cosine(expected, got).min() >= 0.999


def test_a_region_is_cut_before_anything_else() -> None:
    picture = make_picture(480, 640)
    inside = picture[20:320, 100:500].copy()
    picture[:20] = 0
    got = Preprocessor(make_info(96), Roi("label", x=100, y=20, width=400, height=300))(picture)
    np.testing.assert_array_equal(got, Preprocessor(make_info(96), Roi())(inside))


def test_what_is_cut_away_is_not_read() -> None:
    picture = make_picture(1080, 1920)
    other = picture.copy()
    other[:, :384] = 0
    other[:, 1536:] = 0
    process = Preprocessor(make_info(96), Roi())
    np.testing.assert_array_equal(process(picture), process(other))


def test_the_result_is_rgb_contiguous_and_its_own() -> None:
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[:, :, 0] = 200  # blue
    got = Preprocessor(make_info(96), Roi())(picture)
    picture[:] = 0
    assert got.shape == (96, 96, 3)
    assert got.flags.c_contiguous
    assert got.flags.owndata
    assert (got == (0, 0, 200)).all()


@pytest.mark.parametrize(
    "roi", [Roi("label", x=600, width=50, height=50), Roi("label", y=479, width=9, height=2), Roi("label", x=640)]
)
def test_a_region_outside_the_picture_says_where_and_how_large(roi: Roi) -> None:
    with pytest.raises(BadFrame, match=r"roi label: .* must lie inside the picture, got 640 x 480") as caught:
        Preprocessor(make_info(96), roi)(make_picture(480, 640))
    assert caught.value.reason == "roi_outside"


@pytest.mark.parametrize("shape", [(480, 640), (480, 640, 4), (0, 640, 3)])
def test_something_that_is_no_picture_is_a_bad_frame(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadFrame, match="must be \\(H,W,3\\) uint8"):
        Preprocessor(make_info(96), Roi())(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("roi", [Roi("label", x=-1), Roi("label", width=5), Roi("label", width=-3, height=2)])
def test_an_impossible_region_is_refused_at_once(roi: Roi) -> None:
    with pytest.raises(ConfigError, match="roi label"):
        Preprocessor(make_info(96), roi)


@pytest.mark.parametrize(
    "info", [make_info(96, mode="longest"), make_info(96, interpolation="nearest"), make_info(96, resize_to=64)]
)
def test_an_unknown_way_to_resize_is_refused_at_once(info: EncoderInfo) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Preprocessor(info, Roi())


THREADS = """
import os, numpy as np, torch
from pipeline.preprocess import Preprocessor
from pipeline.types import Roi
from tests.pipeline.test_preprocess import make_info
torch.set_num_threads(4)
before = len(os.listdir("/proc/self/task"))
Preprocessor(make_info(224), Roi())(np.zeros((1080, 1920, 3), np.uint8))
after = len(os.listdir("/proc/self/task"))
torch.ones(600, 600) @ torch.ones(600, 600)
torch.ones(3_000_000).exp()
print(after - before, len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to count threads")
def test_it_starts_no_thread_of_its_own_beside_the_capture_threads() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", THREADS], cwd=root, capture_output=True, text=True, check=True)
    ours, torchs = map(int, done.stdout.split())
    assert ours == 0
    assert torchs > 0, "torch itself does start threads here, so the count above means something"
