"""Messages as capture workers and strangers write them, and every way in which one can be bad."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.errors import BadFrame
from pipeline.types import FrameOrigin
from tests.making import make_ref
from workers.kafka.message import JPEG, RAW, FrameMessage, KafkaPosition, frame_headers, read_frame

PICTURE = np.full((8, 12, 3), (10, 120, 230), np.uint8)
MAX_BYTES = 50_000
WHERE = "frames[3]@41"


def encoded(extension: str = ".jpg") -> bytes:
    done, data = cv2.imencode(extension, PICTURE)
    assert done
    return bytes(data)


def position(*, key: bytes | None = b"cap-07", **headers: bytes) -> KafkaPosition:
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return KafkaPosition("frames", 3, 41, 1, 1_700_000_000_250, key, given)


def read(value: bytes | None, at: KafkaPosition) -> FrameMessage:
    return read_frame(value, position=at, where=WHERE, max_bytes=MAX_BYTES)


def refused(value: bytes | None, at: KafkaPosition) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        read(value, at)
    assert caught.value.original == (value or b"")
    assert caught.value.position is at
    assert caught.value.origin is not None
    assert WHERE in str(caught.value)
    return caught.value


def test_the_bare_form_is_named_by_key_partition_and_offset() -> None:
    message = read(encoded(), position())
    assert message.origin == FrameOrigin("cap-07", 3, 41)
    assert (message.captured_at, message.capture_time_source) == (1_700_000_000.25, "broker")
    assert message.image.shape == (8, 12, 3)


def test_without_key_and_camera_the_partition_is_the_camera() -> None:
    assert read(encoded(), position(key=None)).origin.source_id == "frames-3"
    assert read(encoded(), position(key=b"  ")).origin.source_id == "frames-3"


def test_what_a_capture_worker_writes_is_read_back_whole() -> None:
    ref = make_ref(5, source_id="cap-02", truth="scratch")
    headers = tuple(frame_headers(ref, content_type=JPEG, shape=()))
    message = read(encoded(), KafkaPosition("frames", 0, 9, 1, 0, b"other", headers))
    assert message.origin == FrameOrigin("cap-02", ref.epoch, 5)
    assert (message.captured_at, message.capture_time_source) == (ref.captured_at, "host")
    assert message.truth == "scratch"


def test_the_part_a_frame_shows_is_read_from_the_header_that_was_agreed_on() -> None:
    ref = replace(make_ref(5), part="lot7-Ω")
    headers = tuple(frame_headers(ref, content_type=JPEG, shape=()))
    assert read(encoded(), KafkaPosition("frames", 0, 9, 1, 0, None, headers)).part == "lot7-Ω"
    theirs = position(Workpiece=b"17", part=b"theirs alone")
    own = read_frame(encoded(), position=theirs, where=WHERE, max_bytes=MAX_BYTES, part_header="WorkPiece")
    assert own.part == "17"
    assert read(encoded(), position(part=b"")).part is None


def test_png_comes_as_it_was() -> None:
    message = read(encoded(".png"), position(Content_Type=b"image/PNG; q=1"))
    assert np.array_equal(message.image, PICTURE)


def test_raw_pixels_come_as_they_were() -> None:
    ref = make_ref(0)
    headers = tuple(frame_headers(ref, content_type=RAW, shape=PICTURE.shape))
    message = read(PICTURE.tobytes(), KafkaPosition("frames", 0, 0, 1, 0, None, headers))
    assert np.array_equal(message.image, PICTURE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1700000000.5", 1_700_000_000.5),
        (b"2023-11-14T22:13:20Z", 1_700_000_000.0),
        (b"2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        (b"2023-11-14T22:13:20", 1_700_000_000.0),
    ],
)
def test_an_instant_is_a_number_or_a_date(text: bytes, seconds: float) -> None:
    assert read(encoded(), position(captured_at=text)).captured_at == seconds


@pytest.mark.parametrize("stamp", [-1, 2**63 - 1])
def test_a_broken_timestamp_of_the_message_itself_is_no_reason_to_refuse_it(stamp: int) -> None:
    assert read(encoded(), KafkaPosition("frames", 0, 0, 1, stamp, None, ())).captured_at == 0.0


@pytest.mark.parametrize(
    ("value", "headers", "reason", "says"),
    [
        (b"", {}, "empty", "empty value"),
        (None, {}, "empty", "empty value"),
        (bytes(MAX_BYTES + 1), {}, "too_large", "at most 50000 bytes, got 50001"),
        (encoded(), {"content_type": b"text/plain"}, "content_type", "got 'text/plain'"),
        (encoded(), {"content_type": b"\xff\xfe"}, "content_type", "image/jpeg"),
        (encoded()[:-20], {}, "cut", "end marker"),
        (b"no picture at all", {}, "undecodable", "OpenCV"),
        (b"GIF89a" + bytes(20), {}, "undecodable", "OpenCV"),
        (PICTURE.tobytes(), {"content_type": RAW.encode()}, "headers", "header height"),
        (PICTURE.tobytes()[1:], {"content_type": RAW.encode(), "height": b"8", "width": b"12"}, "headers", "got 287"),
        (b"", {"content_type": RAW.encode(), "height": b"0", "width": b"12"}, "empty", "empty"),
        (b"x", {"content_type": RAW.encode(), "height": b"-8", "width": b"-12"}, "headers", "header height"),
        (encoded(), {"sequence": b"five", "epoch": b"1"}, "headers", "header sequence, got 'five'"),
        (encoded(), {"sequence": b"5"}, "headers", "header epoch"),
        (encoded(), {"sequence": b"9" * 30, "epoch": b"1"}, "headers", "header sequence"),
        (encoded(), {"sequence": b"-1", "epoch": b"1"}, "headers", "header sequence"),
        (encoded(), {"sequence": b"9" * 5000, "epoch": b"1"}, "headers", "header sequence"),
        (encoded(), {"part": b"x" * 101}, "headers", "100 printable characters in header part"),
        (encoded(), {"part": b"a\nb"}, "headers", "100 printable characters in header part"),
        (encoded(), {"captured_at": b"yesterday"}, "headers", "captured-at"),
        (encoded(), {"captured_at": b"nan"}, "headers", "captured-at"),
        (encoded(), {"captured_at": b"1e300"}, "headers", "captured-at"),
        (encoded(), {"captured_at": b"0001-01-01T00:00:00+14:00"}, "headers", "captured-at"),
    ],
)
def test_each_bad_form_has_its_reason(value: bytes | None, headers: dict[str, bytes], reason: str, says: str) -> None:
    bad = refused(value, position(**headers))
    assert bad.reason == reason
    assert says in str(bad)
    assert len(str(bad)) < 300


def test_a_bad_picture_keeps_the_name_that_its_headers_gave_it() -> None:
    headers = {"camera": b"cap-09", "epoch": b"4", "sequence": b"8"}
    for value in (b"", bytes(MAX_BYTES + 1), b"no picture"):
        assert refused(value, position(**headers)).origin == FrameOrigin("cap-09", 4, 8)


def test_bad_headers_leave_the_name_of_the_bare_form() -> None:
    assert refused(encoded(), position(sequence=b"x")).origin == FrameOrigin("cap-07", 3, 41)
