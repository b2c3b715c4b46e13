"""Charts and episodes of every context that has a reference: a changeover picks another pair, and is no drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.charts import ChartReading, Charts
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.episodes import EpisodeEvent, EpisodeRules, Episodes
from pipeline.adaptation.drift.profile import ReferenceProfile
from pipeline.types import Float32Array


@dataclass(frozen=True, slots=True)
class Observation:
    """What some parts of one context led to."""

    readings: tuple[ChartReading, ...]
    events: tuple[EpisodeEvent, ...]


NOTHING = Observation((), ())


class DriftMonitor:
    """Keeps the state of each context across changeovers. One thread calls it."""

    def __init__(self, references: Iterable[ReferenceProfile], *, rules: EpisodeRules | None = None) -> None:
        self._rules = rules
        self._pairs = {r.context: (Charts(r), Episodes(r.active, rules=rules)) for r in references}

    def watches(self, context: Context) -> bool:
        """There is a reference for it; without one its parts pass unseen, and that must be shown."""
        return context in self._pairs

    def charts(self, context: Context) -> Charts:
        """Of a watched context."""
        return self._pairs[context][0]

    def episodes(self, context: Context) -> Episodes:
        """Of a watched context."""
        return self._pairs[context][1]

    def update(
        self, context: Context, *, embeddings: npt.NDArray[np.floating[Any]], probabilities: Float32Array
    ) -> Observation:
        """The next parts of a context; nothing where it has no reference."""
        pair = self._pairs.get(context)
        if pair is None:
            return NOTHING
        charts, episodes = pair
        readings = charts.update(embeddings, probabilities=probabilities)
        return Observation(tuple(readings), tuple(event for reading in readings for event in episodes.update(reading)))

    def snapshot(self) -> dict[str, Any]:
        """State of all contexts as JSON values, by context key."""
        return {
            context.key: {"charts": charts.snapshot(), "episodes": episodes.snapshot()}
            for context, (charts, episodes) in self._pairs.items()
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take up what the snapshot has of the contexts watched now. Raises DataError for another reference's."""
        for context, (charts, _) in list(self._pairs.items()):
            kept = snapshot.get(context.key)
            if kept is not None:
                reference = charts.reference
                self._pairs[context] = (
                    Charts.restored(reference, snapshot=kept["charts"]),
                    Episodes.restored(reference.active, snapshot=kept["episodes"], rules=self._rules),
                )
