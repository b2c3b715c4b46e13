"""The formats of industrial cameras, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import BadFrame
from pipeline.types import UInt8Array
from workers.sources.pixel_formats import PIXEL_FORMATS, PixelFormat, to_bgr

BY_NAME = {one.name: one for one in PIXEL_FORMATS.values()}
BLUE, GREEN, RED = (200, 90, 30)
SIZE = 8


def mosaic(pattern: str) -> UInt8Array:
    """A sensor under one colour, whose first two rows of filters are `pattern` (RGGB, ...)."""
    value = {"R": RED, "G": GREEN, "B": BLUE}
    tile = np.array([[value[pattern[0]], value[pattern[1]]], [value[pattern[2]], value[pattern[3]]]], np.uint8)
    return np.tile(tile, (SIZE // 2, SIZE // 2)).reshape(-1)


def convert(raw: UInt8Array, name: str) -> UInt8Array:
    return to_bgr(raw, width=SIZE, height=SIZE, pixel_format=BY_NAME[name], where="camera cap-01")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("BayerRG8", "RGGB"), ("BayerGB8", "GBRG"), ("BayerGR8", "GRBG"), ("BayerBG8", "BGGR")],
)
def test_every_bayer_pattern_gives_the_colour_that_lay_under_the_sensor(name: str, pattern: str) -> None:
    image = convert(mosaic(pattern), name)
    assert image.shape == (SIZE, SIZE, 3)
    assert (image == (BLUE, GREEN, RED)).all()


def test_grey_becomes_three_equal_channels() -> None:
    raw = np.arange(SIZE * SIZE, dtype=np.uint8)
    image = convert(raw, "Mono8")
    assert (image == raw.reshape(SIZE, SIZE, 1)).all()


@pytest.mark.parametrize(("name", "pixel"), [("RGB8", (RED, GREEN, BLUE)), ("BGR8", (BLUE, GREEN, RED))])
def test_colour_pictures_come_out_in_the_order_blue_green_red(name: str, pixel: tuple[int, int, int]) -> None:
    raw = np.tile(np.array(pixel, np.uint8), SIZE * SIZE)
    image = convert(raw, name)
    assert (image == (BLUE, GREEN, RED)).all()
    raw[:] = 0
    assert (image == (BLUE, GREEN, RED)).all()  # it does not share the camera's buffer


@pytest.mark.parametrize(("name", "luma_first"), [("YUV422_8", True), ("YUV422_8_UYVY", False)])
def test_yuv_is_read_in_the_order_of_its_bytes(name: str, luma_first: bool) -> None:
    u, y, v = 90, 81, 240  # red, in BT.601
    group = (y, u, y, v) if luma_first else (u, y, v, y)
    image = convert(np.tile(np.array(group, np.uint8), SIZE * SIZE // 2), name)
    blue, green, red = image.reshape(-1, 3)[0]
    assert (int(red) > 250, int(green) < 5, int(blue) < 5) == (True, True, True)


def test_too_few_bytes_are_a_bad_frame_that_says_how_many_were_needed() -> None:
    with pytest.raises(BadFrame, match=r"camera cap-01: expected 192 bytes for 8 x 8 RGB8, got 191") as caught:
        convert(np.zeros(191, np.uint8), "RGB8")
    assert caught.value.reason == "size_mismatch"


def test_the_numbers_tell_how_many_bits_a_pixel_has() -> None:
    for number, one in PIXEL_FORMATS.items():
        assert isinstance(one, PixelFormat)
        assert (number >> 16) & 0xFF == 8 * one.n_bytes, one.name
