"""A whole line in one process, with the real encoder and a really fitted head."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from pipeline.errors import BundleError, ConfigError, SinkError
from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from workers.app import Pipeline

CLASSES = load_dictionary(TEXTS).class_ids


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line")
    fit_head_in(folder, classes=CLASSES)
    return folder


def test_a_finite_line_delivers_every_frame_once_and_the_iteration_ends(home: Path) -> None:
    config = write_config(home, sources=[simulated(20), simulated(20)])
    with Pipeline.from_config(config) as pipeline:
        results = list(pipeline.results())
    assert Counter(one.ref.source_id for one in results) == {"cap-01": 20, "cap-02": 20}
    for source in ("cap-01", "cap-02"):
        assert [one.ref.sequence for one in results if one.ref.source_id == source] == list(range(20))
    counts, tally = pipeline.line.summary()
    assert (counts.captured, counts.delivered, counts.in_flight, counts.error) == (40, 40, 0, 0)
    assert tally.n_with_truth == 40
    assert {one.head_version for one in results} == {1}


def test_the_same_frames_are_in_the_file_with_the_same_labels(home: Path) -> None:
    (home / "results.jsonl").unlink(missing_ok=True)
    with Pipeline.from_config(write_config(home, sources=[simulated(15)])) as pipeline:
        results = {one.ref.event_id: one.label for one in pipeline.results()}
    lines = [json.loads(line) for line in (home / "results.jsonl").read_text().splitlines()]
    assert {line["event_id"]: line["result"]["label"] for line in lines} == results


def test_every_region_of_a_picture_is_decided_on_its_own(home: Path) -> None:
    rois = [
        {"id": "left", "x": 0, "y": 0, "width": 80, "height": 128},
        {"id": "right", "x": 80, "width": 80, "height": 128},
    ]
    with Pipeline.from_config(write_config(home, sources=[simulated(5)], defaults={"rois": rois})) as pipeline:
        results = list(pipeline.results())
    assert Counter(one.ref.roi_id for one in results) == {"left": 5, "right": 5}


def test_a_running_line_answers_on_its_port(home: Path) -> None:
    config = write_config(home, sources=[simulated(None, speed="real_time", fps=50)])
    with Pipeline.from_config(config) as pipeline:
        results = pipeline.results()
        for _ in range(5):
            next(results)
        url = pipeline.server.url
        assert "\nclearline_ready 1.0\n" in httpx.get(f"{url}/metrics").text  # nobody has asked /readyz yet
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").json() == {"ready": True, "reasons": []}
        status = httpx.get(f"{url}/status").json()
        scrape = httpx.get(f"{url}/metrics").text
    assert status["sources"]["cap-01"]["state"] == "streaming"
    assert status["head"]["version"] == 1
    assert 'clearline_conservation_error{source="cap-01"} 0.0' in scrape
    assert "clearline_results_total{" in scrape
    counts = pipeline.line.summary()[0]
    assert counts.error == 0
    assert counts.in_flight == 0


def test_an_overloaded_live_camera_drops_its_oldest_frames_and_counts_them(home: Path) -> None:
    cameras = [simulated(None, speed="real_time", fps=1000, width=64, height=64)]
    config = write_config(home, sources=cameras, defaults={"queue_frames": 1})
    with Pipeline.from_config(config) as pipeline:
        results = pipeline.results()
        seen = [next(results).ref.sequence for _ in range(20)]
    counts = pipeline.line.summary()[0]
    assert seen == sorted(seen)
    assert counts.error == 0
    assert sum(counts.dropped.values()) > 0


def test_a_line_without_a_fitted_head_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="clearline head fit"):
        Pipeline.from_config(write_config(tmp_path, sources=[simulated(1)]))


def test_zero_shot_needs_no_fitted_head(tmp_path: Path) -> None:
    head = {"kind": "zero_shot", "texts": str(TEXTS)}
    with Pipeline.from_config(write_config(tmp_path, sources=[simulated(6)], head=head)) as pipeline:
        results = list(pipeline.results())
    assert [one.label for one in results] == [one.zero_shot_label for one in results]


def test_good_classes_that_the_head_does_not_know_are_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="got perfect_part"):
        Pipeline.from_config(write_config(home, sources=[simulated(1)], decision={"good_classes": ["perfect_part"]}))


def test_a_taken_port_is_refused_by_name(home: Path) -> None:
    config = write_config(home, sources=[simulated(None, speed="real_time")])
    with Pipeline.from_config(config) as first:
        port = first.server.port
        second = write_config(
            home,
            sources=[simulated(1)],
            server={"port": port},
            sinks=[{"type": "jsonl", "path": str(home / "second.jsonl")}],
        )
        with pytest.raises(SinkError, match=f"port {port} on 127.0.0.1 is taken"):
            Pipeline.from_config(second).start()
