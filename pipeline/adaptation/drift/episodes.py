"""From readings to one call for a person: warn, alarm, episode; and what may be claimed about false ones."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.charts import ChartReading
from pipeline.adaptation.drift.limits import solve_increasing

MISS = 0.05  # of the one-sided bound


class EventKind(enum.StrEnum):
    """What happened to a context."""

    WARN = "warn"  # a chart went over its limit
    CLEARED = "cleared"  # no chart over its limit for a while, and no alarm came
    ALARM = "alarm"  # an episode begins
    DIAGNOSED = "diagnosed"  # enough blocks after the alarm to name a cause
    CLOSED = "closed"  # the episode is over


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """When a person is called, and when it is one call."""

    confirm: int = 4  # blocks over the limit ...
    confirm_of: int = 5  # ... of so many, for an alarm
    diagnose_blocks: int = 20  # after the alarm; also what it takes for a warning to clear
    gap_parts: int = 5_000  # without a chart over its limit, until an episode is over


@dataclass(frozen=True, slots=True)
class ChartPeak:
    """The farthest a chart went, and on which side of the reference."""

    ratio: float  # statistic over limit
    rising: bool


@dataclass(frozen=True, slots=True)
class EpisodeEvent:
    """One step of an episode. `charts` are those over their limit since it began; for WARN, now."""

    kind: EventKind
    episode: int  # from 1; of a warning, the episode it may become
    n_parts: int  # when, in parts of this context
    charts: Mapping[str, ChartPeak]
    expected_accuracy: float
    far_share: float


class Episodes:
    """Follows the active charts; advisory ones are drawn but call nobody."""

    def __init__(self, active: tuple[bool, ...], *, rules: EpisodeRules | None = None) -> None:
        self._active = active
        self._rules = rules or EpisodeRules()
        self._history = [0] * len(CHARTS)  # one bit per block, the newest lowest
        self._peaks: dict[str, ChartPeak] = {}
        self._alarm_block: int | None = None
        self._over_at: int | None = None  # parts, when a chart was last over its limit
        self._over_block = 0
        self.n_episodes = 0

    @property
    def is_open(self) -> bool:
        """An alarm stands."""
        return self._alarm_block is not None

    @property
    def is_warning(self) -> bool:
        """A chart is or was lately over its limit."""
        return self._over_at is not None

    def update(self, reading: ChartReading) -> list[EpisodeEvent]:
        """What this block changes."""
        over = [ratio > 1.0 and active for ratio, active in zip(reading.ratios, self._active, strict=True)]
        window = (1 << self._rules.confirm_of) - 1
        self._history = [(bits << 1 | now) & window for bits, now in zip(self._history, over, strict=True)]
        out: list[EpisodeEvent] = []
        if any(over):
            out += self._went_over(reading, over)
        elif self.is_warning and not self.is_open and reading.block - self._over_block >= self._rules.diagnose_blocks:
            out.append(self._event(EventKind.CLEARED, reading))
            self._forget()
        if self._alarm_block is not None:
            out += self._go_on(reading, self._alarm_block)
        return out

    def _went_over(self, reading: ChartReading, over: list[bool]) -> list[EpisodeEvent]:
        first = not self.is_warning
        self._over_at, self._over_block = reading.n_parts, reading.block
        for name, now, ratio, rising in zip(CHARTS, over, reading.ratios, reading.rising, strict=True):
            if now and (name not in self._peaks or ratio > self._peaks[name].ratio):
                self._peaks[name] = ChartPeak(ratio, rising)
        out = [self._event(EventKind.WARN, reading)] if first else []
        if not self.is_open and max(bits.bit_count() for bits in self._history) >= self._rules.confirm:
            self._alarm_block = reading.block
            self.n_episodes += 1
            out.append(self._event(EventKind.ALARM, reading))
        return out

    def _go_on(self, reading: ChartReading, alarm_block: int) -> list[EpisodeEvent]:
        if reading.block == alarm_block + self._rules.diagnose_blocks:
            return [self._event(EventKind.DIAGNOSED, reading)]
        if self._over_at is not None and reading.n_parts - self._over_at >= self._rules.gap_parts:
            closed = self._event(EventKind.CLOSED, reading)
            self._forget()
            return [closed]
        return []

    def _event(self, kind: EventKind, reading: ChartReading) -> EpisodeEvent:
        number = self.n_episodes + (not self.is_open)
        return EpisodeEvent(
            kind, number, reading.n_parts, dict(self._peaks), reading.expected_accuracy, reading.far_share
        )

    def _forget(self) -> None:
        self._peaks, self._alarm_block, self._over_at = {}, None, None

    def snapshot(self) -> dict[str, Any]:
        """All state as JSON values."""
        return {
            "history": list(self._history),
            "peaks": {name: asdict(peak) for name, peak in self._peaks.items()},
            "alarm_block": self._alarm_block,
            "over_at": self._over_at,
            "over_block": self._over_block,
            "n_episodes": self.n_episodes,
        }

    @classmethod
    def restored(
        cls, active: tuple[bool, ...], *, snapshot: Mapping[str, Any], rules: EpisodeRules | None = None
    ) -> Episodes:
        """Goes on where the snapshot was taken."""
        self = cls(active, rules=rules)
        self._history = list(snapshot["history"])
        self._peaks = {name: ChartPeak(**peak) for name, peak in snapshot["peaks"].items()}
        self._alarm_block, self._over_at = snapshot["alarm_block"], snapshot["over_at"]
        self._over_block, self.n_episodes = snapshot["over_block"], snapshot["n_episodes"]
        return self


@dataclass(frozen=True, slots=True)
class FalseAlarmCertificate:
    """What was really seen on parts known to be in control; a design is a wish until then."""

    n_parts: int  # in control, since the charts are active
    n_episodes: int  # false ones among them
    design_parts_per_alarm: float

    @property
    def bound_per_part(self) -> float:
        """95 % upper bound on the rate of false episodes: 3/n with none seen; never below the design's rate."""
        seen = poisson_upper(self.n_episodes) / self.n_parts if self.n_parts else math.inf
        return max(seen, 1.0 / self.design_parts_per_alarm)

    @property
    def is_proven(self) -> bool:
        """What was seen is as good as the design; until then it must be called a design rate."""
        return self.n_parts > 0 and poisson_upper(self.n_episodes) / self.n_parts <= 1.0 / self.design_parts_per_alarm


def poisson_upper(count: int, *, miss: float = MISS) -> float:
    """Upper bound on the mean of a Poisson variable (Garwood, 1936): 2.996 for none, 4.744 for one."""

    def surprise(mean: float) -> float:
        term = total = 1.0
        for k in range(1, count + 1):
            term *= mean / k
            total += term
        return mean - math.log(total)  # -log P(X <= count)

    return solve_increasing(surprise, target=-math.log(miss), low=count + 1.0, tolerance=1e-9)
