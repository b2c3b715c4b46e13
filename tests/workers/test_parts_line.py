"""Really running lines whose unit is the part: by id, by time, and by a trigger over HTTP."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.workers.sinks.test_event import SCHEMA
from workers.app import Pipeline

CLASSES = load_dictionary(TEXTS).class_ids
BEARER = {"Authorization": "Bearer 0123456789abcdef"}
TRIGGER = {"type": "http", "frames": 2, "token": "0123456789abcdef"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    fit_head_in(folder, classes=CLASSES)
    return folder


@pytest.fixture
def triggered(home: Path) -> Iterator[Pipeline]:
    """A camera at 100 frames per second that waits for triggers."""
    camera = {"trigger": TRIGGER, "parts": {"by": "trigger"}}
    config = write_config(home, sources=[simulated(None, speed="real_time", fps=100)], defaults=camera)
    with Pipeline.from_config(config) as pipeline:
        yield pipeline


def test_three_frames_of_a_part_give_one_result_and_all_frames_are_delivered(home: Path) -> None:
    (home / "results.jsonl").unlink(missing_ok=True)
    parts = {"parts": {"by": "header", "max_frames": 3}}
    config = write_config(home, sources=[simulated(30, frames_per_part=3)], defaults=parts)
    with Pipeline.from_config(config) as pipeline:
        results = list(pipeline.results())
    assert [[ref.sequence for ref in one.refs] for one in results] == [[n, n + 1, n + 2] for n in range(0, 30, 3)]
    assert [one.ref.part for one in results] == [str(n) for n in range(10)]
    counts, tally = pipeline.line.summary()
    assert (counts.captured, counts.delivered, counts.in_flight, counts.error) == (30, 30, 0, 0)
    assert (tally.n_delivered, tally.n_with_truth) == (10, 10)
    events = [json.loads(line) for line in (home / "results.jsonl").read_text().splitlines()]
    assert [one["part"] for one in events] == [{"id": str(n), "n_frames": 3} for n in range(10)]
    for one in events:
        Draft202012Validator(SCHEMA).validate(one)


def test_every_region_decides_its_own_parts(home: Path) -> None:
    rois = [
        {"id": "left", "x": 0, "y": 0, "width": 80, "height": 128},
        {"id": "right", "x": 80, "width": 80, "height": 128},
    ]
    defaults = {"rois": rois, "parts": {"by": "header", "max_frames": 2}}
    config = write_config(home, sources=[simulated(8, frames_per_part=2)], defaults=defaults)
    with Pipeline.from_config(config) as pipeline:
        results = list(pipeline.results())
    assert Counter(one.ref.roi_id for one in results) == {"left": 4, "right": 4}
    assert pipeline.line.summary()[0].delivered == 16


def test_frames_taken_close_together_are_a_part(home: Path) -> None:
    parts = {"parts": {"by": "window", "window_ms": 150, "close_after_ms": 200}}
    config = write_config(home, sources=[simulated(9, speed="real_time", fps=20)], defaults=parts)
    with Pipeline.from_config(config) as pipeline:
        results = list(pipeline.results())
    assert sum(len(one.refs) for one in results) == 9
    assert 2 <= len(results) < 9
    assert all(one.refs[-1].captured_at - one.ref.captured_at <= 0.15 for one in results)


def test_a_trigger_over_http_gives_exactly_one_decision_of_its_pictures(triggered: Pipeline) -> None:
    results, url = triggered.results(), triggered.server.url
    for part in ("lot7-0001", "lot7-0002", "lot7-0003"):
        answer = httpx.post(f"{url}/trigger/cap-01", headers=BEARER, json={"part": part})
        assert answer.status_code == 202
        one = next(results)
        assert (one.ref.part, len(one.refs)) == (part, 2)
    scrape = httpx.get(f"{url}/metrics").text
    assert 'clearline_trigger_given_total{source="cap-01"} 3.0' in scrape
    assert 'clearline_parts_total{reason="full",source="cap-01"} 3.0' in scrape
    assert 'clearline_captured_total{source="cap-01"} 6.0' in scrape


def test_without_its_token_nothing_is_triggered(triggered: Pipeline) -> None:
    assert httpx.post(f"{triggered.server.url}/trigger/cap-01").status_code == 401
    assert triggered.line.summary()[0].captured == 0
