"""Small values for tests, each with one line where it is used."""

from __future__ import annotations

import numpy as np

from pipeline.types import (
    Batch,
    BatchTiming,
    Confusion,
    Decision,
    Frame,
    FrameRef,
    Prediction,
    SourceFrame,
)

SIDE = 4


def make_ref(
    sequence: int = 0, *, source_id: str = "cap-01", roi_id: str = "full", truth: str | None = None
) -> FrameRef:
    return FrameRef(
        source_id=source_id,
        epoch=1,
        sequence=sequence,
        roi_id=roi_id,
        captured_at=1_700_000_000.0 + sequence,
        capture_time_source="host",
        received_at=1000.0,
        position=sequence,
        truth=truth,
        width=64,
        height=48,
    )


def make_frame(sequence: int = 0, *, source_id: str = "cap-01", value: int = 7) -> Frame:
    return Frame(make_ref(sequence, source_id=source_id), np.full((SIDE, SIDE, 3), value, np.uint8))


def make_source_frame(value: int = 7, *, position: object = None, skipped: int = 0, lost: int = 0) -> SourceFrame:
    image = np.full((48, 64, 3), value, np.uint8)
    return SourceFrame(image, 1.0, "host", received_at=1.0, position=position, skipped=skipped, lost=lost)


def make_batch(n: int, *, size: int | None = None) -> Batch:
    refs = tuple(make_ref(sequence) for sequence in range(n))
    pixels = np.zeros((size or n, SIDE, SIDE, 3), np.uint8)
    return Batch(pixels=pixels, refs=refs, evidence=(None,) * n, formed_at=1000.5, slot=0)


def make_prediction(
    sequence: int = 0,
    *,
    label: str = "ok",
    zero_shot_label: str = "ok",
    truth: str | None = None,
    source_id: str = "cap-01",
) -> Prediction:
    return Prediction(
        ref=make_ref(sequence, truth=truth, source_id=source_id),
        label=label,
        confidence=0.9,
        decision=Decision.ACCEPT,
        probabilities={"ok": 0.9, "scratch": 0.1},
        zero_shot_label=zero_shot_label,
        confusion=Confusion("scratch", 2.0, 1.0, 1.0),
        head="demo",
        head_version=1,
        bundle_sha256="ab",
        encoder="fake",
        decided_at=1001.0,
        timing=BatchTiming(4, 1, 0.01, 0.02),
    )
