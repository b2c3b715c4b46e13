"""The page over a line that really runs, with adaptation: labelled by keyboard, and a head promoted by an approver."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.support.labels import Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.simulation.line import SimulatedLine
from tests.lines import SEED, SIZE, simulated, write_config
from workers.adaptation.files import AdaptationFiles
from workers.app import Pipeline
from workers.commands.adaptation_opening import read_audit
from workers.commands.demo import render_labelled
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

CLASSES = ("clean_plate", "dented_plate", "scratched_plate")
N_LABELS = 5
PATIENCE_MS = 30_000


@pytest.fixture
def config(tmp_path: Path) -> LineConfig:
    """One camera, heads 1 and 2 (live), nearly every part drawn for the audit, a labeller and an approver."""
    users = []
    for name, role in (("liu", "labeller"), ("aoki", "approver")):
        (tmp_path / name).write_text(f"secret of {name}")
        users.append({"name": name, "role": role, "password_file": str(tmp_path / name)})
    weights = dict.fromkeys(CLASSES, 1)
    path = write_config(
        tmp_path,
        sources=[simulated(None, speed="real_time", fps=10, weights=weights)],
        head={"kind": "gda", "registry": str(tmp_path / "heads"), "cache": str(tmp_path / "cache")},
        decision={"good_classes": ["clean_plate"], "review_below": 0.0, "unknown_novelty": None},
        adaptation={"folder": str(tmp_path / "adaptation"), "labels": {"audit_accepted": 0.9, "audit_rejected": 0.9}},
        review={"users": users},
    )
    config = load_config(path)
    for class_id in CLASSES:
        render_labelled([SimulatedLine(SEED, **SIZE)], class_id=class_id, n=4, folder=tmp_path / "labelled")
    encoder = open_encoder(config)
    for shots in (3, 4):
        fit_folder(tmp_path / "labelled", config=config, shots=shots, encoder=encoder)
    return config


def _opened(browser: Any, url: str, *, name: str) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{url}/review/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", f"secret of {name}")
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{url}/review/")
    return page


def _label(page: Any, config: LineConfig) -> dict[str, str]:
    """Press the key of the true class, part after part; what was said of each."""
    shown, said = "", dict[str, str]()
    while len(said) < N_LABELS:
        page.wait_for_function("was => (document.getElementById('queue').dataset.shown ?? was) !== was", arg=shown)
        shown = page.get_attribute("#queue", "data-shown")
        lines = config.sinks[0].path.read_text().splitlines()  # type: ignore[union-attr]
        said[shown] = {one["event_id"]: one["truth"] for one in map(json.loads, lines)}[shown]
        page.keyboard.press(page.get_attribute(f"#classes button[value={said[shown]}]", "data-key"))
    page.wait_for_load_state("networkidle")
    return said


def _verdict_with_reasons(page: Any, url: str) -> str:
    """Of the newest part on the wall that nobody is asked about blindly: once the hour's share of questions is used."""
    until = time.monotonic() + PATIENCE_MS / 1e3
    while time.monotonic() < until:
        page.goto(f"{url}/review/")
        page.click(".tile a.photo")
        page.wait_for_load_state("load")
        if page.query_selector(".why h1 .chip"):
            break
        page.wait_for_timeout(200)
    return str(page.text_content(".why h1 .chip")).split()[-1]


def _promote_head_1(page: Any, url: str) -> None:
    page.goto(f"{url}/review/heads")
    page.click("a[href$='/heads/1/promote']")
    page.click("button.strong")
    page.wait_for_selector("h1:has-text('Head 1 decides')")  # by itself


def test_labels_and_promotion_reach_the_line_through_a_real_browser(browser: Any, config: LineConfig) -> None:
    assert config.adaptation is not None
    files = AdaptationFiles(config.adaptation.folder)
    with Pipeline(config) as pipeline:
        url = pipeline.server.url
        page = _opened(browser, url, name="liu")
        page.goto(f"{url}/review/queue")
        said = _label(page, config)
        page.goto(f"{url}/review/confusion")
        assert f"of {N_LABELS} labelled parts" in page.text_content(".lead")
        assert _verdict_with_reasons(page, url) in {"Accept", "Reject"}
        page.goto(f"{url}/review/drift")
        assert page.text_content(".state") == "Learning"
        page.context.close()
        approver = _opened(browser, url, name="aoki")
        _promote_head_1(approver, url)
        until = time.monotonic() + PATIENCE_MS / 1e3
        while _versions(config)[-1] != 1 and time.monotonic() < until:
            approver.wait_for_timeout(100)
        approver.context.close()
    assert _versions(config)[-1] == 1
    assert any((one.kind, one.actor) == ("request promote", "aoki") for one in read_audit(files.audit))
    assert verify(files.audit).ok
    with SupportStore(files.support, encoder=open_encoder(config).image.info) as store:
        assert {one.event_id: one.label for one in store.labels.since(0.0, stream=Stream.AUDIT)} == said


def _versions(config: LineConfig) -> list[int]:
    """Of the head that decided each part, in order."""
    lines = config.sinks[0].path.read_text().splitlines()  # type: ignore[union-attr]
    return [json.loads(line)["model"]["head_version"] for line in lines]
