"""`clearline head explain` on small fitted lines: what it prints, draws and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from pipeline.errors import BundleError, ClearlineError, ConfigError, DataError, SinkError
from pipeline.heads.bundles import registry
from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in
from tests.onnx_files import write_projection
from tests.pipeline.heads.making_folders import write_folder
from workers.commands.explain_picture import MARGIN, WIDTH
from workers.commands.head import app, fit_folder
from workers.config.line import load_config

CONFIG = """
version: 1
cameras: [{{id: cam, source: {{type: simulate}}{rois}}}]
encoder: {{backend: onnx, model: tiny, onnx: {{path: {root}/tiny.onnx, resize_to: 0}}}}
head: {{registry: {root}/heads, name: line, cache: {root}/cache, kind: {kind}}}
decision: {{good_classes: [ok]}}
"""


def write_config(root: Path, *, rois: str = "", kind: str = "kernel_ridge") -> Path:
    path = root / "line.yaml"
    path.write_text(CONFIG.format(root=root, rois=rois, kind=kind))
    return path


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A fitted line without texts."""
    write_projection(tmp_path / "tiny.onnx", n="n")
    write_folder(tmp_path / "images", per_class=4)
    config = write_config(tmp_path)
    fit_folder(tmp_path / "images", config=load_config(config))
    return config


def picture_of(config: Path) -> Path:
    return config.parent / "images" / "dent" / "dent-001.png"


def run(config: Path, *more: str, image: Path | None = None) -> Result:
    return CliRunner().invoke(app, ["explain", str(image or picture_of(config)), "--config", str(config), *more])


def json_of(config: Path, *more: str, image: Path | None = None) -> dict[str, Any]:
    result = run(config, "--json", *more, image=image)
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = orjson.loads(result.stdout)
    return said


def error_of(result: Result) -> ClearlineError:
    assert isinstance(result.exception, ClearlineError), result.output
    return result.exception


def sum_of(said: dict[str, Any]) -> float:
    parts = [*said["texts"], *said["support"], said["other_texts"], said["other_support"]]
    return sum(float(part["contribution"]) for part in parts) + float(said["other"])


def test_json_names_the_head_and_adds_up_to_the_margin(line: Path) -> None:
    said = json_of(line, "--top", "2")
    live = registry.load(line.parent / "heads" / "line", encoder=None)
    assert said["head"] == {"name": "line", "kind": "kernel_ridge", "version": 1, "bundle_sha256": live.sha256}
    assert said["winner"] == "dent"
    assert sum_of(said) == pytest.approx(said["margin"])
    assert said["support"][0]["name"] == "dent/dent-001.png"
    assert (len(said["support"]), said["other_support"]["n"]) == (2, 10)
    assert said["texts"] == []


def test_text_says_margins_confusion_and_what_the_margin_is_made_of(line: Path) -> None:
    result = run(line)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{picture_of(line)}: dent (")
    said = json_of(line)
    assert f"{said['raw_margin']:+.2f} before, {said['margin']:+.2f} after" in result.output
    made_of = lines[next(n for n, text in enumerate(lines) if text.startswith("what the margin")) + 1 :]
    assert sum(float(text.split()[0]) for text in made_of) == pytest.approx(said["margin"], abs=0.05)
    assert "dent/dent-001.png (cosine 1.000)" in result.output


def test_a_picture_is_drawn_with_and_without_the_images_at_hand(line: Path) -> None:
    for name, more in (("without.png", ()), ("with.jpg", ("--images", str(line.parent / "images")))):
        out = line.parent / name
        result = run(line, "--out", str(out), *more)
        assert result.exit_code == 0, result.output
        assert f"picture: {out}" in result.output
        drawn = cv2.imread(str(out))
        assert drawn.shape[1] == WIDTH
        assert 600 < drawn.shape[0] < 1300
        assert (drawn[:, -MARGIN // 2 :] == drawn[0, 0]).all()
    assert np.abs(cv2.imread(str(line.parent / "without.png")).astype(int) - drawn).max() > 100


def test_a_version_can_be_named(line: Path) -> None:
    fit_folder(line.parent / "images", config=load_config(line))
    assert json_of(line)["head"]["version"] == 2
    assert json_of(line, "--head", "1")["head"]["version"] == 1
    assert "no such file" in str(error_of(run(line, "--head", "9")))


def test_the_picture_is_cut_by_the_region_all_cameras_share(line: Path) -> None:
    whole = json_of(line)
    config = write_config(line.parent, rois=", rois: [{id: a, x: 2, y: 2, width: 8, height: 8}]")
    part = json_of(config)
    assert part["support"][0]["cosine"] < whole["support"][0]["cosine"]
    small = line.parent / "small.png"
    cv2.imwrite(str(small), np.zeros((6, 6, 3), np.uint8))
    error = error_of(run(config, image=small))
    assert isinstance(error, DataError)
    assert "must lie inside the picture" in str(error)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_that_is_no_picture_is_input_data(line: Path, content: bytes) -> None:
    bad = line.parent / "bad.png"
    bad.write_bytes(content)
    error = error_of(run(line, image=bad))
    assert (type(error), error.exit_code) == (DataError, 3)
    assert f"{bad}: expected a picture, got {len(content)} bytes" in str(error)


def test_a_missing_file_is_input_data(line: Path) -> None:
    error = error_of(run(line, image=line.parent / "none.png"))
    assert (type(error), error.exit_code) == (DataError, 3)


def test_without_a_live_head_the_bundle_is_missing(line: Path) -> None:
    (line.parent / "heads" / "line" / "live").unlink()
    error = error_of(run(line))
    assert (type(error), error.exit_code) == (BundleError, 4)
    assert "clearline head fit" in str(error)


def test_a_picture_that_cannot_be_written_is_refused(line: Path) -> None:
    assert isinstance(error_of(run(line, "--out", str(line.parent / "why.txt"))), ConfigError)
    assert isinstance(error_of(run(line, "--out", str(line.parent / "none" / "why.png"))), SinkError)
    assert isinstance(error_of(run(line, "--images", str(line.parent / "none"))), DataError)


def test_with_texts_the_names_of_winner_and_rival_have_their_share(tmp_path: Path) -> None:
    dictionary, config = load_dictionary(TEXTS), tmp_path / "line.yaml"
    fit_head_in(tmp_path, classes=dictionary.class_ids, shots=1)
    image = next((tmp_path / "labelled" / "scratched_plate").iterdir())
    names = {c.class_id: c.name for c in dictionary.classes}
    fitted = json_of(config, image=image)
    config.write_text(config.read_text().replace("head:", "head:\n  kind: zero_shot"))
    alone = json_of(config, image=image)
    for said in (fitted, alone):
        assert sum_of(said) == pytest.approx(said["margin"])
        assert set(said["confusion"]) == set(names)
        assert {text["class_id"]: text["phrase"] for text in said["texts"]} == {
            class_id: names[class_id] for class_id in (said["winner"], said["rival"])
        }
    assert (alone["head"]["kind"], alone["head"]["version"], alone["removed"]) == ("zero_shot", 0, 0.0)
    assert alone["support"] == []
