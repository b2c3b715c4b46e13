"""From class names to the first head: a running line, a person at the keyboard, and the folder that is fitted on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, simulated, write_config
from workers.app import Pipeline
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config

CLASSES = load_dictionary(TEXTS).class_ids
PER_CLASS = 2
PATIENCE_S = 60.0


@pytest.fixture
def config(tmp_path: Path) -> LineConfig:
    """Two cameras, no head, and somebody who labels."""
    (tmp_path / "secret").write_text("one key each")
    user = {"name": "liu", "role": "labeller", "password_file": str(tmp_path / "secret")}
    head = {"kind": "zero_shot", "texts": str(TEXTS), "registry": str(tmp_path / "heads"), "cache": str(tmp_path / "c")}
    sources = [
        simulated(None, speed="real_time", fps=20),
        {**simulated(None, speed="real_time", fps=20), "seed": 20_002},
    ]
    review = {"users": [user], "labelled": str(tmp_path / "labelled"), "per_class": PER_CLASS}
    return load_config(write_config(tmp_path, sources=sources, head=head, review=review))


def _truths(config: LineConfig) -> dict[str, str]:
    """Of the parts that came out of the line, by event id."""
    lines = config.sinks[0].path.read_text().splitlines()  # type: ignore[union-attr]
    return {one["event_id"]: one["truth"] for one in map(json.loads, lines)}


def _log_in(page: Any, url: str) -> None:
    page.goto(f"{url}/review/login")
    page.fill("[name=name]", "liu")
    page.fill("[name=password]", "one key each")
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{url}/review/")
    page.goto(f"{url}/review/queue")


def _label_until_enough(page: Any, config: LineConfig) -> int:
    """Press the key of the true class until the page says that it is enough."""
    shown, n_labelled, until = "", 0, time.monotonic() + PATIENCE_S
    while not page.is_visible("#enough"):
        assert time.monotonic() < until, page.text_content("#classes-done")
        page.wait_for_function("was => (document.getElementById('queue').dataset.shown ?? was) !== was", arg=shown)
        shown = page.get_attribute("#queue", "data-shown")
        truth = _truths(config)[shown]
        page.keyboard.press(page.get_attribute(f"#classes button[value={truth}]", "data-key"))
        n_labelled += 1
    return n_labelled


def test_a_person_labels_by_keyboard_until_it_is_enough_and_the_folder_fits_a_head(
    browser: Any, config: LineConfig
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with Pipeline(config) as pipeline:
        page = context.new_page()
        _log_in(page, pipeline.server.url)
        assert not page.is_visible("#model")  # nothing to agree with
        n_labelled = _label_until_enough(page, config)
        page.goto(f"{pipeline.server.url}/review/heads")
        assert page.text_content("h1") == "The class names alone decide"
    context.close()
    truths = _truths(config)
    kept = {path.stem: path.parent.name for path in config.review.labelled.rglob("*.jpg")}
    assert kept == {event_id: truths[event_id] for event_id in kept}
    assert len(kept) == n_labelled >= PER_CLASS * len(CLASSES)
    fitted = config.model_copy(update={"head": config.head.model_copy(update={"kind": "auto"})})
    report = fit_folder(config.review.labelled, config=fitted).report
    assert report.accuracy_head.value > report.accuracy_zero_shot.value
