"""Writes dashboards/*.json from the metric catalogue: `python deploy/grafana/generate.py`, with Clearline installed.

A panel that asks for a metric or label no line exposes is an error; a metric on no panel gets a plain one of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from line_overview import LINE_OVERVIEW
from model_quality import MODEL_QUALITY
from panels import DATASOURCE, Dashboard, Panel, Query, families, panel_json
from pipeline_flow import PIPELINE_FLOW

from workers.metrics.catalogue import CATALOGUE, PREFIX, MetricSpec

FOLDER = Path(__file__).with_name("dashboards")
SCHEMA_VERSION = 41
COLUMNS = 24
VARIABLES = (
    ("camera", "Camera", 'label_values({__name__=~"clearline_captured_total|clearline_results_total"}, source)'),
    ("head", "Head", "label_values(clearline_results_total, head)"),
)


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """As Grafana reads it from a file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["clearline"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [_links()],
        "templating": {"list": [_variable(*one) for one in VARIABLES]},
        "annotations": {"list": list(_annotations(dashboard))},
        "panels": list(_panels(dashboard)),
    }


def _links() -> dict[str, Any]:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["clearline"],
        "targetBlank": False,
        "title": "Clearline",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "options": [],
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    }


def _annotations(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    for one in dashboard.annotations:
        families(one.expr)
        yield {
            "name": one.name,
            "datasource": DATASOURCE,
            "enable": True,
            "hide": False,
            "iconColor": one.colour,
            "tagKeys": one.tags,
            "titleFormat": one.title,
            "target": {"expr": one.expr, "refId": "Anno", "interval": "15s"},
        }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for heading, panels in dashboard.rows:
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        x, tallest = 0, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield panel_json(panel, number=number, x=x, y=y)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def completed(dashboards: tuple[Dashboard, ...]) -> tuple[Dashboard, ...]:
    """The last one also with what no panel of any shows, so that a new metric is seen before somebody places it."""
    shown = {
        name
        for dashboard in dashboards
        for _, panels in dashboard.rows
        for panel in panels
        for query in panel.queries
        for name in families(query.expr)
    }
    rest = tuple(plain_panel(spec) for spec in CATALOGUE if spec.name not in shown)
    if not rest:
        return dashboards
    *others, last = dashboards
    return (*others, replace(last, rows=(*last.rows, ("Everything else", rest))))


def plain_panel(spec: MetricSpec) -> Panel:
    """All series of a family: values, rates, or the 95th percentile."""
    expr = spec.name
    if spec.kind == "counter":
        expr = f"rate({spec.name}[$__rate_interval])"
    elif spec.kind == "histogram":
        expr = f"histogram_quantile(0.95, rate({spec.name}_bucket[$__rate_interval]))"
    about = spec.name.removeprefix(PREFIX).removesuffix("_total")
    return Panel(about, (Query(expr),), rate=spec.kind == "counter", needs="feature")


DASHBOARDS = completed((LINE_OVERVIEW, MODEL_QUALITY, PIPELINE_FLOW))


def all_panels() -> Iterator[Panel]:
    """Of all dashboards."""
    for dashboard in DASHBOARDS:
        for _, panels in dashboard.rows:
            yield from panels


def rendered() -> dict[str, str]:
    """File name to content."""
    return {
        f"{one.uid}.json": json.dumps(dashboard_json(one), indent=2, ensure_ascii=False) + "\n" for one in DASHBOARDS
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
