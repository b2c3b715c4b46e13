"""Writes dashboards/*.json from the metric catalogue: `python deploy/grafana/generate.py`, with Clearline installed.

A panel that asks for a metric or label no line exposes is an error, and so is a metric that no panel shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from line_overview import LINE_OVERVIEW
from model_quality import MODEL_QUALITY
from panels import DATASOURCE, NEEDS, Dashboard, Panel, UnknownMetricError, families, panel_json
from pipeline_flow import PIPELINE_FLOW

from workers.metrics_catalogue import CATALOGUE

DASHBOARDS = (LINE_OVERVIEW, PIPELINE_FLOW, MODEL_QUALITY)
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


def all_panels() -> Iterator[Panel]:
    """Of all dashboards."""
    for dashboard in DASHBOARDS:
        for _, panels in dashboard.rows:
            yield from panels


def check_complete() -> None:
    """Raises UnknownMetricError where a panel needs what there is not, or a metric is on no panel."""
    strange = {panel.needs for panel in all_panels()} - {"", *NEEDS}
    if strange:
        raise UnknownMetricError(f"panels need one of {sorted(NEEDS)} or nothing, got {sorted(strange)}")
    shown = {name for panel in all_panels() for query in panel.queries for name in families(query.expr)}
    hidden = sorted({spec.name for spec in CATALOGUE} - shown)
    if hidden:
        raise UnknownMetricError(f"expected each metric of the catalogue on a panel, none shows {', '.join(hidden)}")


def rendered() -> dict[str, str]:
    """File name to content."""
    check_complete()
    return {
        f"{one.uid}.json": json.dumps(dashboard_json(one), indent=2, ensure_ascii=False) + "\n" for one in DASHBOARDS
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
