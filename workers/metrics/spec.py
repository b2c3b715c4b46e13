"""What a metric is said to be: name, kind, unit, meaning, and what to do when it looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "clearline_"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One family. `name` has prefix, unit and, for a counter, `_total`: what a query is written with."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str  # frames, seconds, ratio, ...; "" for states and infos
    labels: tuple[str, ...]
    meaning: str
    action: str  # what to do when it looks wrong
    buckets: tuple[float, ...] = ()


def counter(name: str, unit: str, *, labels: str = "", meaning: str, action: str) -> MetricSpec:
    return MetricSpec(f"{PREFIX}{name}_total", "counter", unit, tuple(labels.split()), meaning, action)


def gauge(name: str, unit: str, *, labels: str = "", meaning: str, action: str) -> MetricSpec:
    return MetricSpec(PREFIX + name, "gauge", unit, tuple(labels.split()), meaning, action)


def histogram(
    name: str, unit: str, *, buckets: tuple[float, ...], labels: str = "", meaning: str, action: str
) -> MetricSpec:
    return MetricSpec(PREFIX + name, "histogram", unit, tuple(labels.split()), meaning, action, buckets)
