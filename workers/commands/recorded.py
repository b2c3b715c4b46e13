"""Walks over a recording, one segment in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.adaptation.support.replaying import RecordedFrames
from pipeline.adaptation.support.segments import SUFFIX, Segment, SegmentKind
from pipeline.errors import DataError
from pipeline.types import EncoderInfo


def recorded_segments(
    folder: Path, *, encoder: EncoderInfo, since: float = -math.inf, until: float = math.inf, source: str | None = None
) -> Iterator[RecordedFrames]:
    """Frames with `since` <= captured_at <= `until`, in the order they were recorded, those of one file at a time."""
    for segment in _segments(folder, encoder=encoder):
        blocks = list(segment.blocks(since=since, until=until))
        if not blocks:
            continue
        places = max((block.places for block in blocks), key=len)  # within a segment names are only added
        records = np.concatenate([block.records for block in blocks])
        kept = (records["captured_at"] >= since) & (records["captured_at"] <= until)
        if source is not None:
            kept &= np.asarray([name == source for name, _ in places], np.bool_)[records["place"]]
        if kept.any():
            yield RecordedFrames(records[kept], places)


def _segments(folder: Path, *, encoder: EncoderInfo) -> Iterator[Segment]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a recording, got no such folder; run the line with adaptation first")
    kind = SegmentKind(encoder.embedding_dim, encoder.sha256, encoder.preprocessing_sha256)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            segment = Segment(path)
        except (FileNotFoundError, DataError):
            continue  # removed meanwhile, or just begun
        with segment:
            if segment.kind == kind:
                yield segment
