"""The alert rules as Prometheus reads them; each fires in its fault and has its paragraph of what to do."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.grafana_generator import load
from tests.servers.prometheus import promtool

_, panels = load()

FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "alerts.yml"
CASES = FOLDER / "alerts.test.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_promtool_accepts_the_rules() -> None:
    said = promtool("check", "rules", str(RULES))
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_fires_in_its_fault_and_is_silent_without() -> None:
    said = promtool("test", "rules", str(CASES))
    assert said.returncode == 0, said.stdout + said.stderr


def test_no_alert_is_without_a_case_in_which_it_fires() -> None:
    fires = set(re.findall(r'\{alertname="(\w+)"\}', CASES.read_text()))
    assert fires == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_there_are_and_says_what_to_do(rule: dict[str, object]) -> None:
    expr = str(rule["expr"])
    assert panels.families(expr) or expr.startswith("up{")
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(rule["annotations"]) == {"summary", "runbook"}  # type: ignore[call-overload]


def test_the_runbook_has_a_paragraph_per_alert_and_no_other() -> None:
    told = re.findall(r"^### (\w+)\n\n(.+)", (FOLDER / "README.md").read_text(), flags=re.MULTILINE)
    assert [name for name, _ in told] == [rule["alert"] for rule in ALERTS]


def test_prometheus_loads_the_rules_and_not_their_cases() -> None:
    settings = FOLDER / "prometheus.yml"
    loaded = {path for one in yaml.safe_load(settings.read_text())["rule_files"] for path in FOLDER.glob(one)}
    assert loaded == {RULES}
