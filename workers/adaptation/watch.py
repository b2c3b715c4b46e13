"""Recording, charts and sensor checks of all cameras: decided batches in, episode events out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.episodes import EpisodeEvent, EventKind
from pipeline.adaptation.drift.monitor import DriftMonitor
from pipeline.adaptation.drift.profile_file import load_profile
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.errors import ClearlineError
from pipeline.heads.bundles.atomic import write_atomic
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
        state: Path,
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
        self._ignored: set[int] = set()  # heads whose references describe what is no longer normal
        self._named: dict[Place, EpisodeEvent] = {}  # places whose open episode has a cause
        self._over: set[Place] = set()
        self.ratios: tuple[float, ...] = ()  # of the newest block; one assignment
        self._state = state
        self._monitor = self._load({})
        with contextlib.suppress(OSError, ValueError, ClearlineError):  # charts that begin anew alarm a little later
            self._monitor.restore(json.loads(state.read_bytes()))

    def covers(self, head_version: int) -> bool:
        """Is there a reference of this product and head, for any place?"""
        mine = (self._product, head_version)
        return head_version not in self._ignored and mine in self._contexts

    def reload(self) -> None:
        """References have changed on disk; charts of those that have not go on."""
        self._ignored.clear()
        self._monitor = self._load(self._monitor.snapshot())

    def ignore(self, head_version: int) -> None:
        """Another normal was approved: until there is a reference of it, this head's charts say nothing."""
        self._ignored.add(head_version)
        self._named.clear()
        self._over.clear()

    def standing(self) -> list[tuple[Place, EpisodeEvent]]:
        """Drifts that were named before and still stand: nothing has settled them."""
        return [(place, event) for place, event in self._named.items() if place in self._over]

    def save(self) -> None:
        """Where the charts stand, for a restart. Raises OSError."""
        write_atomic(self._state, content=json.dumps(self._monitor.snapshot()).encode(), durable=False)

    def change_product(self, product: str) -> None:
        """Another product on the belt: its own references, and no drift."""
        self._product = product
        self._gathered.clear()
        self._named.clear()
        self._over.clear()

    @property
    def recorded_bytes(self) -> int:
        """On disk."""
        return self._recording.n_bytes

    def close(self) -> None:
        """The recording is let go; where the disk refuses its last flush, nothing more can be done."""
        with contextlib.suppress(ClearlineError, OSError):
            self.save()
        with contextlib.suppress(ClearlineError, OSError):
            self._recording.close()

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
        if head_version in self._ignored or not self._monitor.watches(context):
            if place not in self.missing:
                self.missing.add(place)
                self._gauge("reference_missing", 1, *place)
            self.ratios = ()
            return []
        self.missing.discard(place)
        seen = self._monitor.update(
            context,
            embeddings=np.concatenate(gathered.embeddings),
            probabilities=np.concatenate(gathered.probabilities),
        )
        if seen.readings:
            last = seen.readings[-1]
            self.ratios = last.ratios
            for chart, statistic, limit in zip(CHARTS, last.statistics, last.limits, strict=True):
                self._gauge("drift_statistic", statistic, *place, chart)
                self._gauge("drift_threshold", limit, *place, chart)
            self._gauge("drift_far_ratio", last.far_share, *place)
            self._gauge("estimated_accuracy_ratio", last.expected_accuracy, *place)
            self._gauge("drift_episode", float(self._monitor.episodes(context).is_open), *place)
            self._gauge("reference_missing", 0, *place)
            active = self._monitor.charts(context).reference.active
            over = any(ratio > 1.0 and on for ratio, on in zip(last.ratios, active, strict=True))
            (self._over.add if over else self._over.discard)(place)
        for event in seen.events:
            self._note(place, event)
        return [(place, event) for event in seen.events]

    def _note(self, place: Place, event: EpisodeEvent) -> None:
        if event.kind is EventKind.DIAGNOSED:
            self._named[place] = event
        elif event.kind is EventKind.CLOSED:
            self._named.pop(place, None)

    def _context(self, place: Place, *, head_version: int) -> Context:
        return Context(
            source=place[0],
            roi=place[1],
            product=self._product,
            encoder_sha256=self._encoder.sha256,
            preprocessing_sha256=self._encoder.preprocessing_sha256,
            head_version=head_version,
        )

    def _load(self, kept: Mapping[str, Any]) -> DriftMonitor:
        profiles = []
        for path in sorted(self._references.glob("reference-*.safetensors")):
            try:
                profiles.append(load_profile(path))
            except ClearlineError as error:
                log.warning("reference left out", cause=str(error))
        self._contexts = {(one.context.product, one.context.head_version) for one in profiles}
        monitor = DriftMonitor(profiles)
        for profile in profiles:
            key = profile.context.key
            if key in kept:
                with contextlib.suppress(ClearlineError):  # a reference made anew: its charts begin anew
                    monitor.restore({key: kept[key]})
        return monitor


def places_of(seen: Seen) -> Mapping[Place, npt.NDArray[np.int64]]:
    """Rows of each source and region, in order."""
    rows: dict[Place, list[int]] = {}
    for row, one in enumerate(seen.predictions):
        rows.setdefault((one.ref.source_id, one.ref.roi_id), []).append(row)
    return {place: np.asarray(found, np.int64) for place, found in rows.items()}
