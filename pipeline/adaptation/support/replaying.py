"""Reading the recording: by time and source, as unlabelled pools, as contiguous runs, and by event."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.support.segments import SUFFIX, Block, Records, Segment, SegmentKind, record_type
from pipeline.errors import DataError
from pipeline.types import EncoderInfo, Float32Array

MAX_POOL_ROWS = 100_000  # 200 MB at D = 512


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrames:
    """Frames as they were recorded, in that order; `place` of a record is an index into `places`."""

    records: Records  # (n,), see `record_type`
    places: tuple[tuple[str, str], ...]  # (source, roi)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def embeddings(self) -> Float32Array:
        """(n, D), a copy."""
        return self.records["embedding"].astype(np.float32)

    @property
    def captured_at(self) -> npt.NDArray[np.float64]:
        """(n,), UTC, seconds since 1970."""
        return self.records["captured_at"].astype(np.float64)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n,), class numbers of the head that decided, see `head_versions`."""
        return self.records["label"].astype(np.int64)

    @property
    def confidences(self) -> Float32Array:
        """(n,)."""
        return self.records["confidence"].astype(np.float32)

    @property
    def head_versions(self) -> npt.NDArray[np.int64]:
        """(n,)."""
        return self.records["head_version"].astype(np.int64)

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The same ids that the events carried."""
        names = [self.places[int(place)] for place in self.records["place"]]
        numbers = zip(self.records["epoch"].tolist(), self.records["sequence"].tolist(), strict=True)
        return tuple(f"{source}-{e}-{s}-{roi}" for (source, roi), (e, s) in zip(names, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one source and ROI, of one start, in which nothing is missing beyond the tolerance."""

    source: str
    roi: str
    epoch: int
    first_sequence: int
    last_sequence: int
    first_at: float  # captured_at
    last_at: float
    n_frames: int


class RecordingReader:
    """Reads one folder beside its writer, and only what this encoder made. Holds nothing open between calls.

    A segment that is removed while it is read gives what was read of it, or nothing.
    """

    def __init__(self, folder: Path, *, encoder: EncoderInfo) -> None:
        self._folder = folder
        self._kind = SegmentKind(encoder.embedding_dim, encoder.sha256, encoder.preprocessing_sha256)
        self.n_corrupt = 0  # damaged blocks found by the last call

    def frames(
        self,
        *,
        since: float = -math.inf,
        until: float = math.inf,
        source: str | None = None,
        roi: str | None = None,
        head_version: int | None = None,
    ) -> RecordedFrames:
        """All frames with `since` <= captured_at <= `until`, about 1 KB of memory each."""
        parts, places = list[Records](), dict[tuple[str, str], int]()
        for block in self._blocks(since=since, until=until):
            kept = _matching(block, since=since, until=until, source=source, roi=roi, head_version=head_version)
            if not kept.any():
                continue
            records = block.records[kept].copy()
            numbers = np.asarray([places.setdefault(place, len(places)) for place in block.places], np.uint16)
            records["place"] = numbers[records["place"]]
            parts.append(records)
        none = np.empty(0, record_type(self._kind.dim))
        return RecordedFrames(records=np.concatenate(parts) if parts else none, places=tuple(places))

    def pool(
        self, *, since: float, until: float = math.inf, source: str | None = None, max_rows: int = MAX_POOL_ROWS
    ) -> Float32Array:
        """Unlabelled embeddings (M, D), M <= `max_rows`, thinned evenly over the span. Reads the span twice."""
        blocks = self._blocks(since=since, until=until)
        n = sum(int(_matching(block, since=since, until=until, source=source).sum()) for block in blocks)
        taken = np.unique(np.linspace(0, n - 1, num=min(n, max_rows)).round().astype(np.int64)) if n else np.empty(0)
        parts, seen = [np.zeros((0, self._kind.dim), np.float32)], 0
        for block in self._blocks(since=since, until=until):
            rows = block.records[_matching(block, since=since, until=until, source=source)]
            inside = taken[(taken >= seen) & (taken < seen + len(rows))] - seen
            parts.append(rows["embedding"][inside.astype(np.int64)].astype(np.float32))
            seen += len(rows)
        return np.concatenate(parts)

    def places(self, *, since: float = -math.inf) -> tuple[tuple[str, str], ...]:
        """Sources and regions of which something is recorded since then, in order of their names."""
        found: set[tuple[str, str]] = set()
        for block in self._blocks(since=since, until=math.inf):
            found |= set(block.places)
        return tuple(sorted(found))

    def runs(
        self, *, source: str, roi: str = "full", since: float = -math.inf, min_frames: int = 1, max_missing: int = 0
    ) -> tuple[Run, ...]:
        """Contiguous stretches, oldest first; `max_missing` frames may be missing at one place (dropped, or damaged).

        Whichever head decided them: embeddings do not depend on it. A drift reference has to be contiguous: shuffled
        or thinned frames hide how slowly a healthy line wanders.
        """
        fields = ("epoch", "sequence", "captured_at")
        columns: dict[str, list[npt.NDArray[np.generic]]] = defaultdict(list)
        for block in self._blocks(since=since, until=math.inf):
            rows = block.records[_matching(block, since=since, until=math.inf, source=source, roi=roi)]
            for name in fields:
                columns[name].append(rows[name])
        if not columns:
            return ()
        epoch, sequence, at = (np.concatenate(columns[name]) for name in fields)
        step = np.diff(sequence.astype(np.int64))
        broken = (np.diff(epoch) != 0) | (step < 1) | (step > max_missing + 1)
        edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(sequence)]
        return tuple(
            Run(
                source=source,
                roi=roi,
                epoch=int(epoch[a]),
                first_sequence=int(sequence[a]),
                last_sequence=int(sequence[b - 1]),
                first_at=float(at[a:b].min()),
                last_at=float(at[a:b].max()),
                n_frames=b - a,
            )
            for a, b in pairwise(edges)
            if b - a >= min_frames
        )

    def read_run(self, run: Run) -> RecordedFrames:
        """The frames of a run; fewer where its beginning was removed meanwhile."""
        span = self.frames(since=run.first_at, until=run.last_at, source=run.source, roi=run.roi)
        sequence = span.records["sequence"]
        inside = (span.records["epoch"] == run.epoch) & (sequence >= run.first_sequence)
        return RecordedFrames(span.records[inside & (sequence <= run.last_sequence)], span.places)

    def find(self, event_ids: Collection[str], *, since: float = -math.inf) -> dict[str, RecordedFrames]:
        """One recorded frame for each event that is still there; reads the whole span once."""
        wanted, found = set(event_ids), dict[str, RecordedFrames]()
        if not wanted:
            return found
        sequences = np.asarray(sorted({s for event_id in wanted for s in _numbers(event_id)}), np.int64)
        for block in self._blocks(since=since, until=math.inf):
            near = np.flatnonzero(np.isin(block.records["sequence"], sequences))
            frames = RecordedFrames(block.records[near], block.places)
            for i, event_id in enumerate(frames.event_ids):
                if event_id in wanted:
                    found[event_id] = RecordedFrames(block.records[near[i : i + 1]], block.places)
        return found

    def _blocks(self, *, since: float, until: float) -> Iterator[Block]:
        """Raises DataError where there is no folder."""
        if not self._folder.is_dir():
            raise DataError(f"{self._folder}: expected a folder with an embedding recording, got no such folder")
        self.n_corrupt = 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                segment = Segment(path)
            except (FileNotFoundError, DataError):
                continue  # removed meanwhile, or just begun
            with segment:
                if segment.kind == self._kind:
                    yield from segment.blocks(since=since, until=until)
                self.n_corrupt += segment.n_corrupt


def _matching(
    block: Block,
    *,
    since: float,
    until: float,
    source: str | None = None,
    roi: str | None = None,
    head_version: int | None = None,
) -> npt.NDArray[np.bool_]:
    at = block.records["captured_at"]
    kept: npt.NDArray[np.bool_] = (at >= since) & (at <= until)
    if source is not None or roi is not None:
        right = [source in (None, s) and roi in (None, r) for s, r in block.places]
        kept &= np.asarray(right, np.bool_)[block.records["place"]]
    if head_version is not None:
        kept &= block.records["head_version"] == head_version
    return kept


def _numbers(event_id: str) -> Iterator[int]:
    """Every number of an id: one of them is the sequence, and names of sources may hold dashes too."""
    return (int(part) for part in event_id.split("-") if part.isdecimal() and len(part) < 19)
