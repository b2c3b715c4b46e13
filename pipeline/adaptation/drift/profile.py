"""The values of a reference: what a line in control looks like, frozen, and who answers for it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.adaptation.drift.blocks import CHARTS, Projection
from pipeline.adaptation.drift.chart_limits import ChartSpec
from pipeline.adaptation.drift.context import Context


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """How the charts are built, and how long a recording must be before they may be believed."""

    block: int = 64  # parts
    weight: float = 0.1  # of the newest block: a memory of ten blocks
    mix_weight: float = 0.02  # a memory of fifty
    advisory_parts: int = 20_000  # below, nothing is fitted
    active_parts: int = 100_000
    mix_active_parts: int = 300_000
    correlation_times: float = 300.0  # length of the recording
    memories: float = 75.0  # length of the recording, in memories of the chart

    def weights(self) -> tuple[float, ...]:
        """Per chart."""
        return tuple(self.mix_weight if name == "mix" else self.weight for name in CHARTS)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """All that the charts of one context need. Immutable; a new head or camera setting needs a new one."""

    context: Context
    rules: ReferenceRules
    projection: Projection
    charts: tuple[ChartSpec, ...]  # in the order of CHARTS
    n_parts: int
    first_at: float  # UTC, seconds since 1970
    last_at: float
    correlation_parts: float
    parts_per_alarm: float  # what the limits were made for, all charts together
    approved_by: str | None = None
    sha256: str = ""  # of its file's content

    @property
    def active(self) -> tuple[bool, ...]:
        """Per chart: may it change the state of anything?"""
        return tuple(not spec.advisory for spec in self.charts)

    @property
    def expected_accuracy(self) -> float:
        """Mean calibrated confidence of the recording: what its predictions are right in, if it is calibrated."""
        return float(self.charts[CHARTS.index("confidence")].mean[0])
