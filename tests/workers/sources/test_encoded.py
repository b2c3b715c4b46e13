"""Whole pictures decode, cut ones are refused with their bytes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.errors import BadFrame
from tests.servers.videos import picture
from workers.encoded import decode, is_cut


def encode(ending: str) -> bytes:
    done, data = cv2.imencode(ending, picture(3))
    assert done
    return data.tobytes()


def with_exif(jpeg: bytes, *, orientation: int, thumbnail: bytes = b"") -> bytes:
    """A JPEG with an EXIF block that says how it is turned."""
    tag = b"\x12\x01\x03\x00\x01\x00\x00\x00" + orientation.to_bytes(2, "little") + b"\x00\x00"
    tiff = b"II*\x00\x08\x00\x00\x00" + b"\x01\x00" + tag + b"\x00\x00\x00\x00" + thumbnail
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_a_whole_picture_is_decoded_to_bgr(ending: str) -> None:
    image = decode(encode(ending), where="test")
    assert image.shape == (120, 160, 3)
    assert np.abs(image.astype(int) - picture(3)).mean() < 5


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_picture_is_refused_with_its_bytes(ending: str, share: float) -> None:
    data = encode(ending)
    cut = data[: int(len(data) * share)]
    with pytest.raises(BadFrame, match="without the end marker") as caught:
        decode(cut, where="cap-01")
    assert caught.value.original == cut
    assert caught.value.reason == "cut"


def test_the_end_of_an_exif_thumbnail_is_not_the_end_of_the_picture() -> None:
    data = with_exif(encode(".jpg"), orientation=1, thumbnail=encode(".jpg"))
    assert not is_cut(data)
    assert is_cut(data[:-20])


def test_padding_after_the_end_marker_is_allowed() -> None:
    assert decode(encode(".jpg") + b"\x00" * 500, where="test").shape == (120, 160, 3)


def test_exif_rotation_is_applied() -> None:
    assert decode(with_exif(encode(".jpg"), orientation=6), where="test").shape == (160, 120, 3)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"no picture at all", "undecodable")])
def test_what_is_no_picture_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(data, where="test")
    assert caught.value.reason == reason
