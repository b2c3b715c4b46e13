"""Real photos and footage through the ONNX encoder, from labelled folder to counted result."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.errors import ClearlineError
from tests.servers.rtsp import RtspServer
from workers.app import Pipeline
from workers.commands.head import fit_folder
from workers.config.line import load_config


def lay_out(folder: Path, *, pictures: Path) -> None:
    """Copy a data set into support/<class> and query/<class>."""
    with (pictures / "index.csv").open(newline="") as rows:
        for row in csv.DictReader(rows):
            target = folder / row["role"] / row["classname"]
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / row["file"], target)


def configure(folder: Path, *, model: Path, good: list[str], source: dict[str, object]) -> Path:
    """A line over one source with the MobileNetV2 file as its encoder."""
    onnx = {"path": str(model), "mean": [0.5] * 3, "std": [0.5] * 3, "resize_to": 256, "output": "embedding"}
    content = {
        "version": 1,
        "cameras": [{"id": "cap-01", "source": source}],
        "encoder": {"backend": "onnx", "model": "mobilenet", "onnx": onnx},
        "head": {"name": "real", "registry": str(folder / "heads"), "cache": str(folder / "cache")},
        "batching": {"sizes": [1, 8]},
        "decision": {"good_classes": good},
        "sinks": [{"type": "jsonl", "path": str(folder / "results.jsonl")}],
        "server": {"port": 0},
    }
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(shared_data: Path) -> Path:
    return shared_data / "mobilenetv2-imagenet" / "mobilenetv2_1.0_224.onnx"


@pytest.fixture(scope="module")
def cookies(shared_data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a head fitted on eight pictures of good and broken cookies each."""
    folder = tmp_path_factory.mktemp("cookies")
    lay_out(folder, pictures=shared_data / "aws-cookies")
    source = {"type": "replay", "path": str(folder / "query"), "labels": "folders"}
    config = load_config(configure(folder, model=model, good=["normal"], source=source))
    done = fit_folder(folder / "support", config=config, shots=8)
    assert done.report.n_images == 16
    return folder


def run(config: Path) -> Pipeline:
    """To the end of its files."""
    with Pipeline.from_config(config) as pipeline:
        for _ in pipeline.results():
            pass
    counts = pipeline.line.summary()[0]
    assert counts.error == 0
    assert counts.in_flight == 0
    assert counts.captured == counts.delivered + sum(counts.dropped.values()) + sum(counts.dead_lettered.values())
    return pipeline


def test_broken_cookies_are_told_from_good_ones(cookies: Path, model: Path) -> None:
    source = {"type": "replay", "path": str(cookies / "query"), "labels": "folders"}
    counts, tally = run(configure(cookies, model=model, good=["normal"], source=source)).line.summary()
    assert counts.delivered == 22
    assert tally.accuracy_head is not None
    assert tally.accuracy_head >= 0.85  # always saying normal gives 0.64


def test_real_footage_flows_from_a_file(cookies: Path, model: Path, shared_data: Path) -> None:
    (cookies / "results.jsonl").unlink(missing_ok=True)
    source = {"type": "replay", "path": str(shared_data / "line-videos" / "bolt-multi-size-detection.gif")}
    counts = run(configure(cookies, model=model, good=["normal"], source=source)).line.summary()[0]
    lines = [json.loads(line) for line in (cookies / "results.jsonl").read_text().splitlines()]
    assert counts.delivered == len(lines) == 37
    assert [line["frame"]["seq"] for line in lines] == list(range(37))


def test_real_footage_flows_from_a_real_rtsp_server(cookies: Path, model: Path, shared_data: Path) -> None:
    video = shared_data / "line-videos" / "bottle-detection.mp4"
    with RtspServer(file=str(video)) as server:
        config = configure(cookies, model=model, good=["normal"], source={"type": "camera", "url": server.url})
        with Pipeline.from_config(config) as pipeline:
            results = pipeline.results()
            seen = [next(results) for _ in range(20)]
    counts = pipeline.line.summary()[0]
    assert counts.error == 0
    assert counts.in_flight == 0
    assert (seen[0].ref.width, seen[0].ref.height) == (640, 360)


def test_a_head_fitted_on_another_encoder_is_refused(cookies: Path, model: Path) -> None:
    source = {"type": "replay", "path": str(cookies / "query")}
    content = yaml.safe_load(configure(cookies, model=model, good=["normal"], source=source).read_text())
    content["encoder"]["onnx"]["resize_to"] = 224
    other = cookies / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    with pytest.raises(ClearlineError, match="preprocessing"):
        Pipeline.from_config(other)
