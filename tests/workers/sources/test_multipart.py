"""A multipart stream is split right whatever the chunking, the dashes and the faults of the camera."""

from __future__ import annotations

import pytest

from workers.sources.multipart import MultipartParser, boundary_of

PICTURES = [bytes([value]) * 300 for value in (1, 2, 3)]


def stream(*, with_length: bool, dashes: bytes = b"--", bodies: list[bytes] | None = None) -> bytes:
    out = b""
    for body in bodies or PICTURES:
        length = b"Content-Length: %d\r\n" % len(body) if with_length else b""
        out += dashes + b"cam\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + body + b"\r\n"
    return out + dashes + b"cam\r\n\r\n"


def parts(data: bytes, *, chunk: int) -> list[bytes]:
    parser = MultipartParser(boundary=b"cam")
    found = []
    for start in range(0, len(data), chunk):
        assert parser.feed(data[start : start + chunk])
        while (part := parser.next_part()) is not None:
            found.append(part)
    return found


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("dashes", [b"--", b"----"])
def test_every_part_comes_out_whole(chunk: int, with_length: bool, dashes: bytes) -> None:
    assert parts(stream(with_length=with_length, dashes=dashes), chunk=chunk) == PICTURES


def test_a_part_shorter_than_it_promised_ends_at_the_next_boundary() -> None:
    data = b"--cam\r\nContent-Length: 300\r\n\r\n" + b"\x01" * 100 + b"\r\n" + stream(with_length=True)
    assert parts(data, chunk=50) == [b"\x01" * 100, *PICTURES]


def test_what_comes_before_the_first_boundary_is_passed_over() -> None:
    assert parts(b"a preamble\r\n" + stream(with_length=True), chunk=20) == PICTURES


def test_a_stream_without_boundaries_is_given_up_before_it_fills_the_memory() -> None:
    parser = MultipartParser(boundary=b"cam", max_bytes=1000)
    assert parser.feed(b"x" * 1000)
    assert not parser.feed(b"x")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("multipart/x-mixed-replace; boundary=cam", b"cam"),
        ('multipart/x-mixed-replace;boundary="--cam"', b"cam"),
        ("multipart/x-mixed-replace", b""),
        ("image/jpeg", b""),
    ],
)
def test_the_boundary_is_read_from_the_header(header: str, expected: bytes) -> None:
    assert boundary_of(header) == expected
