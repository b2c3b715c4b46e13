"""The dashboards are what the catalogue says, and a real line fills every panel in a real Prometheus."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.texts.dictionary import load_dictionary
from tests.deploy.grafana_generator import GRAFANA, load
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.prometheus import Prometheus, running_line, running_prometheus, until
from tests.workers.test_metrics import _Balance, _exercised
from workers.metrics.registry import CATALOGUE
from workers.server import StatusServer

generate, panels = load()

DATASOURCE = {"type": "prometheus", "uid": "clearline-prometheus"}
FILL_S = 200.0  # nine subgroups of 500 parts pass before the p' chart has limits
GOOD = ["clean_plate", "gear", "nut", "washer", "bottle_cap", "labelled_carton"]
CHOSEN = {"$camera": ".*", "$head": ".*", "$__rate_interval": "10s", "offset 1m": "offset 1d"}
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))


def chosen(expr: str) -> str:
    """As Grafana sends it with `All` chosen."""
    for variable, value in CHOSEN.items():
        expr = expr.replace(variable, value)
    return expr


def expressions(*, needs: bool) -> list[str]:
    """Of all panels and annotations that need more than a line, or of those that do not."""
    shown = [q.expr for p in generate.all_panels() if bool(p.needs) == needs for q in p.queries]
    marked = [a.expr for board in generate.DASHBOARDS for a in board.annotations if bool(a.needs) == needs]
    return [chosen(expr) for expr in dict.fromkeys([*shown, *marked])]


def demand_data(prometheus: Prometheus, wanted: Iterable[str]) -> None:
    """Each expression gives a number within FILL_S; all that do not are named together."""
    empty = list(wanted)

    def filled() -> bool | None:
        empty[:] = [expr for expr in empty if not has_number(prometheus, expr)]
        return None if empty else True

    try:
        until(filled, what="all panels filled", timeout_s=FILL_S)
    except AssertionError as error:
        raise AssertionError("without data: " + "\n".join(empty)) from error


def has_number(prometheus: Prometheus, expr: str) -> bool:
    return any(math.isfinite(float(one["value"][1])) for one in prometheus.query(expr))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Prometheus]:
    """Scrapes a line of two simulated cameras, run as a user runs it."""
    folder = tmp_path_factory.mktemp("grafana")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids, shots=1)
    small = {"width": 64, "height": 64}
    cameras = [simulated(None, **small), simulated(None, speed="real_time", fps=20, **small)]
    config = write_config(folder, sources=cameras, decision={"good_classes": GOOD, "costs": {}, "review_below": 0.4})
    with (
        running_line(config, log=folder / "line.log") as port,
        running_prometheus(folder, ports={"clearline-line": port}) as prometheus,
    ):
        yield prometheus


def test_every_panel_shows_data_of_a_running_line(filled: Prometheus) -> None:
    demand_data(filled, expressions(needs=False))


@pytest.mark.parametrize(("variable", "found"), [("camera", {"cap-01", "cap-02"}), ("head", {"demo"})])
def test_every_variable_offers_what_runs(filled: Prometheus, variable: str, found: set[str]) -> None:
    query = next(text for name, _, text in generate.VARIABLES if name == variable)
    match, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
    until(lambda: set(filled.label_values(label, match=match)) == found or None, what=query)


def test_every_panel_that_needs_more_shows_data_where_it_is(tmp_path: Path) -> None:
    metrics = _exercised()
    metrics.bind_ledger(lambda: {"cap-01": _Balance(3, 1, {"queue_full": 1}, {"undecodable": 1}, 0, 0)})
    yes = (True, [])
    server = StatusServer(host="127.0.0.1", port=0, metrics=metrics, status=dict, health=lambda: yes, ready=lambda: yes)
    server.start()
    try:
        with running_prometheus(tmp_path, ports={"clearline-line": server.port}) as prometheus:
            demand_data(prometheus, expressions(needs=True))
    finally:
        server.stop(timeout_s=5)


def test_the_committed_dashboards_are_what_the_generator_writes() -> None:
    rendered = generate.rendered()
    assert {path.name: path.read_text(encoding="utf-8") for path in FILES} == rendered, "run deploy/grafana/generate.py"


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("rate(clearline_captured[5m])", "got clearline_captured"),
        ("clearline_frame_age_seconds", "got clearline_frame_age_seconds"),
        ('clearline_source_up{camera="cap-01"}', "camera"),
        ("rate(process_cpu_total[5m])", "got process_cpu_total"),
    ],
)
def test_a_metric_or_label_nobody_exposes_is_refused(expr: str, says: str) -> None:
    with pytest.raises(panels.UnknownMetricError, match=says):
        panels.families(expr)


def test_a_metric_that_no_panel_shows_gets_a_plain_one() -> None:
    others = [board for board in generate.DASHBOARDS if board.uid != "clearline-line"]
    added = dict(generate.completed(tuple(others))[-1].rows)["Everything else"]
    assert "clearline_spc_value_ratio" in [query.expr for panel in added for query in panel.queries]
    everything = {
        name for panel in generate.all_panels() for query in panel.queries for name in panels.families(query.expr)
    }
    assert everything == {spec.name for spec in CATALOGUE}


def test_a_panel_says_what_the_catalogue_says() -> None:
    panel = next(one for one in generate.all_panels() if one.about == "in_flight")
    assert panels.title_of(panel) == "Frames captured whose fate is still open"
    assert panels.description_of(panel) == (
        "clearline_in_flight: Frames captured whose fate is still open. "
        "Constant at the queue's size: the encoder or a sink is the bottleneck."
    )
    assert panels.unit_of(panel) == "short"


def test_the_drift_charts_are_those_of_the_pipeline() -> None:
    text = (GRAFANA / "dashboards" / "clearline-model.json").read_text(encoding="utf-8")
    assert tuple(dict.fromkeys(re.findall(r'chart=\\"(\w+)\\"', text))) == CHARTS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_have_their_own_ids_and_places_and_ask_the_provisioned_datasource(path: Path) -> None:
    board: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert (board["uid"], board["schemaVersion"]) == (path.stem, 41)
    assert len(set(numbers)) == len(numbers)
    for panel in shown:
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(one["datasource"] == DATASOURCE for one in (panel, *panel["targets"]))
        assert panel["title"]
        assert panel["description"]
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    return across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]


def test_what_is_provisioned_is_what_the_dashboards_ask_for() -> None:
    folder = GRAFANA / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((folder / "dashboards" / "clearline.yaml").read_text())["providers"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    compose = yaml.safe_load((GRAFANA.parent / "compose.yaml").read_text())["services"]
    assert re.match(r"http://(\w+):9090", source["url"]).group(1) in compose
    [mounted] = [one for one in compose["grafana"]["volumes"] if isinstance(one, dict)]
    assert provider["options"]["path"] == f"{mounted['target']}/dashboards"
