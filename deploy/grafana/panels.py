"""Panels and dashboards as values; their titles, units and descriptions come from the metric catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from workers.metrics.catalogue import CATALOGUE, PREFIX, MetricSpec

DATASOURCE = {"type": "prometheus", "uid": "clearline-prometheus"}
PROCESS = {  # what the Prometheus client itself exposes of a process
    "process_resident_memory_bytes": "Memory of the process that is in RAM.",
    "process_cpu_seconds_total": "CPU time of the process, seconds.",
    "process_open_fds": "Files and sockets the process has open.",
    "process_max_fds": "Files and sockets the process may have open.",
    "process_start_time_seconds": "When the process started, seconds since 1970.",
}
NEEDS = {
    "kafka": "Kafka",
    "outbox": "an outbox",
    "adaptation": "the section adaptation",
    "archive": "an archive",
    "gpu": "a GPU",
    "feature": "the feature it belongs to",
}
UNITS = {"seconds": "s", "ratio": "percentunit", "bytes": "bytes"}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"

_BY_NAME = {spec.name: spec for spec in CATALOGUE}
_NAME = re.compile(rf"\b((?:{PREFIX}|process_)[a-z0-9_]+)(?:\{{([^}}]*)\}})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")

Step = tuple[str, float | None]  # colour, from this value on; None: from the lowest


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`about` is the family whose meaning is the title, with what of it is shown; `title` where something else is."""

    about: str  # without the prefix and a counter's _total
    queries: tuple[Query, ...]
    aspect: str = ""
    title: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    unit: str = ""  # of Grafana; "" takes the family's
    rate: bool = False  # the family per second
    needs: str = ""  # a key of NEEDS: empty on a line without it
    steps: tuple[Step, ...] = ((GREEN, None),)
    words: tuple[tuple[int, str, str], ...] = ()  # value, text, colour
    stacked: bool = False
    repeat: str = ""  # a variable: one panel for each of its values


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the time axis of every panel."""

    name: str
    expr: str
    tags: str  # labels shown, comma between
    title: str
    colour: str = BLUE
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Rows of panels, with a heading each."""

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    annotations: tuple[Annotation, ...] = ()


class UnknownMetricError(Exception):
    """An expression asks for what no line exposes."""


def families(expr: str) -> tuple[str, ...]:
    """Metric families of an expression, in order. Raises UnknownMetricError for a name or label nobody exposes."""
    found: dict[str, None] = {}
    for name, matchers in _NAME.findall(expr):
        if name in PROCESS:
            continue
        spec = _spec(name, expr=expr)
        allowed = {*spec.labels, "job", "instance", *(["le"] if spec.kind == "histogram" else [])}
        strange = set(_LABEL.findall(matchers)) - allowed
        if strange:
            raise UnknownMetricError(f"{expr}: {spec.name} has the labels {sorted(allowed)}, got {sorted(strange)}")
        found[spec.name] = None
    return tuple(found)


def _spec(name: str, *, expr: str) -> MetricSpec:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    spec = _BY_NAME.get(name) or _BY_NAME.get(base)
    if spec is None or (spec.kind == "histogram") != (name != spec.name):
        raise UnknownMetricError(f"{expr}: expected a metric of workers/metrics/catalogue.py, got {name}")
    return spec


def about(panel: Panel) -> MetricSpec:
    """The family whose meaning the panel has. Raises UnknownMetricError."""
    spec = _BY_NAME.get(PREFIX + panel.about) or _BY_NAME.get(f"{PREFIX}{panel.about}_total")
    if spec is None:
        raise UnknownMetricError(f"expected a metric of workers/metrics/catalogue.py, got {panel.about}")
    return spec


def title_of(panel: Panel) -> str:
    """The family's meaning, unless the panel shows something computed from it."""
    text = panel.title or about(panel).meaning.removesuffix(".")
    return f"{text}: {panel.aspect}" if panel.aspect else text


def description_of(panel: Panel) -> str:
    """Meaning and action of every family shown."""
    lines = [f"Empty without {NEEDS[panel.needs]}."] if panel.needs else []
    for query in panel.queries:
        for name in families(query.expr):
            line = f"{name}: {_BY_NAME[name].meaning} {_BY_NAME[name].action}"
            if line not in lines:
                lines.append(line)
        lines += [f"{name}: {PROCESS[name]}" for name in PROCESS if name in query.expr]
    return "\n\n".join(dict.fromkeys(lines))


def unit_of(panel: Panel) -> str:
    """Of the panel's axis, in Grafana's words."""
    if panel.unit:
        return panel.unit
    unit = about(panel).unit
    if panel.rate:
        return f"suffix: {unit or 'times'}/s"
    return UNITS.get(unit, "short")


def panel_json(panel: Panel, *, number: int, x: int, y: int) -> dict[str, Any]:
    """One panel where it lies."""
    targets = [
        {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "instant": panel.kind == "table",
            "range": panel.kind != "table",
            "format": {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
            "legendFormat": query.legend or "__auto",
            "refId": chr(ord("A") + index),
        }
        for index, query in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": title_of(panel),
        "description": description_of(panel),
        "datasource": DATASOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": targets,
    }
    if panel.kind == "table":
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True}}}]
    if panel.repeat:
        made |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 3}
    return made


def _defaults(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "unit": unit_of(panel),
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"color": c, "value": v} for c, v in panel.steps]},
        "mappings": [
            {"type": "value", "options": {str(value): {"text": text, "color": colour, "index": index}}}
            for index, (value, text, colour) in enumerate(panel.words)
        ],
        "noValue": f"needs {NEEDS[panel.needs]}" if panel.needs else "no data",
    }
    if panel.kind == "timeseries":
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
        }
    return made


_LEGEND = {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True}
_TOOLTIP = {"mode": "multi", "sort": "desc"}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "colorMode": "background",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "value_and_name" if panel.queries[0].legend else "value",
            "wideLayout": True,
        }
    if panel.kind == "state-timeline":
        return {"legend": _LEGEND, "tooltip": _TOOLTIP, "mergeValues": True, "rowHeight": 0.8, "showValue": "auto"}
    if panel.kind == "table":
        return {"cellHeight": "sm", "frameIndex": 0, "showHeader": True}
    if panel.kind == "heatmap":
        return {
            "calculate": False,
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "fill": BLUE,
                "exponent": 0.5,
                "reverse": False,
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "legend": {"show": True},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
            "yAxis": {"unit": unit_of(panel)},
        }
    return {"legend": _LEGEND, "tooltip": _TOOLTIP}
