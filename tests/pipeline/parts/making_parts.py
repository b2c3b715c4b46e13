"""Frames of parts as the assembler takes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.parts import Member, PartRule
from pipeline.types import BatchTiming, Features
from tests.making import make_ref

RULE = PartRule(max_frames=3, close_after_s=1.0)


def member(
    sequence: int,
    *,
    part: str | None,
    camera: str = "cap-01",
    roi: str = "full",
    at: float = 0.0,
    carrier: str = "",
) -> Member:
    """`at` is when it was taken and received, seconds."""
    ref = make_ref(sequence, source_id=camera, roi_id=roi)
    ref = replace(ref, part=part, received_at=1000.0 + at, captured_at=1_700_000_000.0 + at, carrier=carrier)
    features = Features(np.full((1, 2), sequence, np.float32))
    return Member(ref, features, None, BatchTiming(1, 1, 0.0, 0.0), np.zeros((4, 4, 3), np.uint8))
