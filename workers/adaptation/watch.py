"""Recording, charts and sensor checks of all cameras: decided batches in, episode events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.episodes import EpisodeEvent
from pipeline.adaptation.drift.monitor import DriftMonitor
from pipeline.adaptation.drift.profile_file import load_profile
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.errors import ClearlineError
from pipeline.types import EncoderInfo, Float32Array
from workers.adaptation.tap import Seen

log = structlog.get_logger()

Place = tuple[str, str]  # source, region
Gauge = Callable[..., None]  # (metric, value, *labels)


@dataclass(slots=True)
class _Gathered:
    """Parts of one place that wait to be charted together: a call costs about as much as thirty parts."""

    embeddings: list[Float32Array] = field(default_factory=list)
    probabilities: list[Float32Array] = field(default_factory=list)
    n: int = 0


class Watch:
    """One thread. Contexts without a reference pass unseen, and `missing` says which."""

    def __init__(
        self,
        recording: EmbeddingRecording,
        *,
        references: Path,
        encoder: EncoderInfo,
        product: str,
        gather_parts: int,
        gauge: Gauge,
    ) -> None:
        self._recording = recording
        self._references = references
        self._encoder = encoder
        self._product = product
        self._gather_parts = gather_parts
        self._gauge = gauge
        self._gathered: dict[tuple[Place, int], _Gathered] = {}
        self.missing: set[Place] = set()
        self._monitor = self._load()

    @property
    def has_references(self) -> bool:
        """Anything to compare with."""
        return self._n_references > 0

    def reload(self) -> None:
        """References have changed on disk."""
        self._monitor = self._load()

    def change_product(self, product: str) -> None:
        """Another product on the belt: its own references, and no drift."""
        self._product = product
        self._gathered.clear()

    def record(self, seen: Seen, *, at: float) -> None:
        """Append the batch to the recording. Raises SinkError where the disk refuses."""
        self._recording.append(
            [one.ref for one in seen.predictions],
            embeddings=seen.image,
            labels=seen.labels,
            confidences=np.array([one.confidence for one in seen.predictions], np.float32),
            head_version=seen.head_version,
            at=at,
        )

    def update(self, seen: Seen) -> list[tuple[Place, EpisodeEvent]]:
        """Chart what has gathered; events of places in order."""
        found: list[tuple[Place, EpisodeEvent]] = []
        for place, rows in places_of(seen).items():
            gathered = self._gathered.setdefault((place, seen.head_version), _Gathered())
            gathered.embeddings.append(seen.image[rows])
            gathered.probabilities.append(seen.probabilities[rows])
            gathered.n += rows.size
            if gathered.n >= self._gather_parts:
                del self._gathered[place, seen.head_version]
                found += self._chart(place, gathered=gathered, head_version=seen.head_version)
        return found

    def _chart(self, place: Place, *, gathered: _Gathered, head_version: int) -> list[tuple[Place, EpisodeEvent]]:
        context = self._context(place, head_version=head_version)
        if not self._monitor.watches(context):
            if place not in self.missing:
                self.missing.add(place)
                self._gauge("reference_missing", 1, *place)
            return []
        self.missing.discard(place)
        seen = self._monitor.update(
            context,
            embeddings=np.concatenate(gathered.embeddings),
            probabilities=np.concatenate(gathered.probabilities),
        )
        if seen.readings:
            last = seen.readings[-1]
            for chart, statistic, limit in zip(CHARTS, last.statistics, last.limits, strict=True):
                self._gauge("drift_statistic", statistic, *place, chart)
                self._gauge("drift_threshold", limit, *place, chart)
            self._gauge("drift_far_ratio", last.far_share, *place)
            self._gauge("estimated_accuracy_ratio", last.expected_accuracy, *place)
            self._gauge("drift_episode", float(self._monitor.episodes(context).is_open), *place)
            self._gauge("reference_missing", 0, *place)
        return [(place, event) for event in seen.events]

    def _context(self, place: Place, *, head_version: int) -> Context:
        return Context(
            source=place[0],
            roi=place[1],
            product=self._product,
            encoder_sha256=self._encoder.sha256,
            preprocessing_sha256=self._encoder.preprocessing_sha256,
            head_version=head_version,
        )

    def _load(self) -> DriftMonitor:
        profiles = []
        for path in sorted(self._references.glob("*")) if self._references.is_dir() else []:
            try:
                profiles.append(load_profile(path))
            except ClearlineError as error:
                log.warning("reference left out", cause=str(error))
        self._n_references = len(profiles)
        return DriftMonitor(profiles)


def places_of(seen: Seen) -> Mapping[Place, npt.NDArray[np.int64]]:
    """Rows of each source and region, in order."""
    rows: dict[Place, list[int]] = {}
    for row, one in enumerate(seen.predictions):
        rows.setdefault((one.ref.source_id, one.ref.roi_id), []).append(row)
    return {place: np.asarray(found, np.int64) for place, found in rows.items()}
