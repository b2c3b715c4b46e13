"""A decided batch as one message: embeddings in fp16, decisions, and each picture as the encoder saw it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from pipeline.errors import DataError
from pipeline.types import Decision, FrameRef, UInt8Array
from workers.adaptation.pictures import QUALITY
from workers.adaptation.tap import Decided, Seen

HEADER = "decided"  # key of the metadata
CLIPPED = 60_000.0  # fp16 ends at 65,504; a novelty beyond is as far as one can be


@dataclass(frozen=True, slots=True)
class CarriedDecision:
    """What the loop reads of a decision that was made in another process."""

    ref: FrameRef
    label: str
    decision: Decision
    confidence: float


def to_bytes(seen: Seen) -> bytes:
    """About 1 KB a part at D = 512, and its picture where the tap kept one."""
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "image": seen.image.astype(np.float16),
        "probabilities": seen.probabilities.astype(np.float16),
        "labels": seen.labels.astype(np.int32),
    }
    if seen.novelty is not None:
        tensors["novelty"] = np.minimum(seen.novelty, CLIPPED).astype(np.float16)
    if seen.pixels is not None:
        encoded = [_jpeg(one) for one in seen.pixels]
        tensors["jpeg"] = np.concatenate(encoded)
        tensors["jpeg_bytes"] = np.array([one.size for one in encoded], np.int32)
    decided = [_plain(one) for one in seen.predictions]
    header = json.dumps({"head_version": seen.head_version, "decided": decided})
    return safetensors.numpy.save(tensors, metadata={HEADER: header})


def from_bytes(content: bytes) -> Seen:
    """The batch again. Raises DataError for what is none."""
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(_metadata(content)[HEADER])
        n = len(tensors["image"])
        decided = tuple(_decided(one) for one in header["decided"])
        if not len(decided) == len(tensors["probabilities"]) == len(tensors["labels"]) == n:
            raise ValueError(f"{len(decided)} decisions of {n} parts")
        return Seen(
            predictions=decided,
            image=tensors["image"].astype(np.float32),
            probabilities=tensors["probabilities"].astype(np.float32),
            labels=tensors["labels"].astype(np.int64),
            novelty=tensors["novelty"].astype(np.float32) if "novelty" in tensors else None,
            pixels=_pixels(tensors["jpeg"], sizes=tensors["jpeg_bytes"]) if "jpeg" in tensors else None,
            head_version=int(header["head_version"]),
        )
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"embeddings topic: expected a decided batch, got {len(content)} bytes: {error}; do workers of one version "
            "write and read it?"
        ) from error


def _metadata(content: bytes) -> dict[str, str]:
    """safetensors: eight bytes of length, then a JSON header."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def _plain(one: Decided) -> list[object]:
    ref = one.ref
    return [
        ref.source_id,
        ref.epoch,
        ref.sequence,
        ref.roi_id,
        ref.captured_at,
        ref.capture_time_source,
        one.label,
        one.decision.value,
        round(one.confidence, 6),
    ]


def _decided(plain: Sequence[object]) -> CarriedDecision:
    source, epoch, sequence, roi, captured_at, time_source, label, decision, confidence = plain
    ref = FrameRef(
        source_id=str(source),
        epoch=int(str(epoch)),
        sequence=int(str(sequence)),
        roi_id=str(roi),
        captured_at=float(str(captured_at)),
        capture_time_source=str(time_source),
        received_at=0.0,  # monotonic seconds of another process mean nothing here
    )
    return CarriedDecision(ref, str(label), Decision(str(decision)), float(str(confidence)))


def _jpeg(picture: UInt8Array) -> UInt8Array:
    done, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, picture.shape  # (S, S, 3) always fits
    return np.asarray(encoded, np.uint8).reshape(-1)


def _pixels(jpeg: UInt8Array, *, sizes: npt.NDArray[np.int32]) -> UInt8Array:
    """(n, S, S, 3) RGB."""
    ends = np.cumsum(sizes)
    decoded = [cv2.imdecode(jpeg[end - size : end], cv2.IMREAD_COLOR) for size, end in zip(sizes, ends, strict=True)]
    if any(one is None for one in decoded):
        raise ValueError("a picture cannot be decoded")
    return np.stack([np.asarray(one, np.uint8)[:, :, ::-1] for one in decoded])
