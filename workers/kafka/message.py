"""A frame on a topic: value = picture bytes, key = camera, headers = identity; or the bare form others produce."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipeline.errors import BadFrame
from pipeline.types import FrameOrigin, FrameRef, UInt8Array
from workers.encoded import decode

LATEST_S = 253_402_300_800.0  # the year 10000: no calendar writes it
LARGEST = 2**63 - 1  # JSON readers keep no larger integer
LONGEST_PART = 100  # characters of a part id
LONGEST_SHOWN = 100  # characters of a header in a message to people

PART = "part"  # the header that says which part a frame shows
JPEG, PNG, RAW = "image/jpeg", "image/png", "image/x-raw-bgr8"
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class KafkaPosition:
    """Where a message lay, and what a dead letter has to give back."""

    topic: str
    partition: int
    offset: int
    tenure: int  # which assignment of the partition to this process it was read under
    timestamp_ms: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """A message understood."""

    image: UInt8Array  # (H, W, 3) BGR
    origin: FrameOrigin
    captured_at: float  # UTC, seconds since 1970
    capture_time_source: str
    truth: str | None
    name: str | None
    part: str | None


def frame_headers(ref: FrameRef, *, content_type: str, shape: tuple[int, ...]) -> list[tuple[str, bytes]]:
    """What a capture worker says of a frame; `shape` (H, W, 3) goes along with raw pixels only."""
    told = {
        "content-type": content_type,
        "camera": ref.source_id,
        "epoch": str(ref.epoch),
        "sequence": str(ref.sequence),
        "captured-at": f"{ref.captured_at:.6f}",
        "capture-time-source": ref.capture_time_source,
    }
    if content_type == RAW:
        told |= {"height": str(shape[0]), "width": str(shape[1])}
    if ref.truth is not None:
        told["truth"] = ref.truth
    if ref.name is not None:
        told["frame-name"] = ref.name
    if ref.part is not None:
        told[PART] = ref.part
    return [(name, value.encode("utf-8", "backslashreplace")) for name, value in told.items()]


def read_frame(
    value: bytes | None, *, position: KafkaPosition, where: str, max_bytes: int, part_header: str = PART
) -> FrameMessage:
    """Decode and check one message. Raises BadFrame with a reason from: empty, too_large, headers, content_type,
    undecodable; its bytes and its position go along.

    Without headers the camera is the key, the epoch the partition and the sequence the offset, so that the same message
    has the same event id for everyone who reads it.
    """
    value = value or b""
    headers = {name.lower(): content for name, content in position.headers}
    origin = FrameOrigin(_camera(headers, position=position), position.partition, position.offset)
    try:
        if "sequence" in headers:
            origin = FrameOrigin(origin.source_id, _number(headers, "epoch"), _number(headers, "sequence"))
        if len(value) > max_bytes:
            raise _Refused("too_large", f"expected at most {max_bytes} bytes, got {len(value)}")
        if not value:
            raise _Refused("empty", "expected a picture, got an empty value")
        return FrameMessage(
            image=_pixels(value, headers=headers, where=where),
            origin=origin,
            captured_at=_instant(headers, position=position),
            capture_time_source=_text(headers, "capture-time-source", default="broker"),
            truth=_text(headers, "truth", default="") or None,
            name=_text(headers, "frame-name", default="") or None,
            part=_part(headers, name=part_header.lower()),
        )
    except _Refused as refused:
        raise BadFrame(
            f"{where}: {refused}", original=value, reason=refused.reason, position=position, origin=origin
        ) from refused
    except BadFrame as bad:
        raise BadFrame(str(bad), original=value, reason=bad.reason, position=position, origin=origin) from bad


class _Refused(ValueError):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _camera(headers: Mapping[str, bytes], *, position: KafkaPosition) -> str:
    name = headers.get("camera") or position.key or b""
    text = name.decode("utf-8", "backslashreplace").strip()
    return text or f"{position.topic}-{position.partition}"


def _pixels(value: bytes, *, headers: Mapping[str, bytes], where: str) -> UInt8Array:
    kind = _text(headers, "content-type", default=JPEG).split(";")[0].strip().lower()
    if kind in (JPEG, PNG, "image/jpg"):
        return decode(value, where=where)
    if kind != RAW:
        raise _Refused("content_type", f"expected content-type {JPEG}, {PNG} or {RAW}, got {kind[:LONGEST_SHOWN]!r}")
    height, width = _number(headers, "height"), _number(headers, "width")
    if min(height, width) < 1 or height * width * 3 != len(value):
        raise _Refused("headers", f"expected {height} x {width} x 3 bytes of raw pixels, got {len(value)}")
    return np.frombuffer(value, np.uint8).reshape(height, width, 3)


def _instant(headers: Mapping[str, bytes], *, position: KafkaPosition) -> float:
    text = _text(headers, "captured-at", default="")
    seconds = _seconds(text) if text else position.timestamp_ms / 1e3
    if 0.0 <= seconds < LATEST_S:
        return seconds
    if not text:
        return 0.0  # the message's own timestamp is nobody's promise
    raise _Refused("headers", f"expected captured-at in seconds since 1970 or RFC 3339, got {text[:LONGEST_SHOWN]!r}")


def _seconds(text: str) -> float:
    """Since 1970; NaN for what is no time."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _part(headers: Mapping[str, bytes], *, name: str) -> str | None:
    text = _text(headers, name, default="")
    if len(text) > LONGEST_PART or not text.isprintable():
        wanted = f"expected at most {LONGEST_PART} printable characters in header {name}"
        raise _Refused("headers", f"{wanted}, got {text[:LONGEST_SHOWN]!r}")
    return text or None


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = _text(headers, name, default="")
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST:
        raise _Refused("headers", f"expected a whole number from 0 in header {name}, got {text[:LONGEST_SHOWN]!r}")
    return number


def _text(headers: Mapping[str, bytes], name: str, *, default: str) -> str:
    value = headers.get(name)
    return default if value is None else value.decode("utf-8", "backslashreplace")
