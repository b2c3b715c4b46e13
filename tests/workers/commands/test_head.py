"""`clearline head fit`, through a small ONNX encoder: what it writes, prints and refuses."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from pipeline.errors import BundleError, ClearlineError, DataError
from pipeline.heads.bundles import registry
from tests.onnx_files import write_projection
from tests.pipeline.heads.making_folders import write_folder
from workers.commands.head import app
from workers.config.cameras import common_roi
from workers.config.line import load_config

CONFIG = """
version: 1
cameras: [{{id: cam, source: {{type: simulate}}{rois}}}]
encoder: {{backend: onnx, model: tiny, onnx: {{path: {root}/tiny.onnx, resize_to: 0}}}}
head: {{registry: {root}/heads, name: line, cache: {root}/cache{texts}}}
decision: {{good_classes: [ok]}}
"""
TEXTS = """
schema_version: 1
line: x
language: en
templates: ["a photo of a {}."]
classes: {ok: {name: ok part}, dent: {name: dent}, blister: {name: blister}}
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    write_projection(tmp_path / "tiny.onnx", n="n")
    write_folder(tmp_path / "images", per_class=4)
    return write_config(tmp_path)


def write_config(root: Path, *, texts: str = "", rois: str = "") -> Path:
    path = root / "line.yaml"
    path.write_text(CONFIG.format(root=root, texts=texts, rois=rois))
    return path


def run(config: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["fit", str(config.parent / "images"), "--config", str(config), *more])


def error_of(result: Result) -> ClearlineError:
    assert isinstance(result.exception, ClearlineError), result.output
    return result.exception


def test_json_says_what_was_written_and_how_good_it_is(line: Path) -> None:
    result = run(line, "--json", "--seed", "3")
    assert result.exit_code == 0, result.output
    said = orjson.loads(result.stdout)
    assert said["classes"] == ["dent", "ok", "scratch"]
    assert (said["version"], said["n_images"], said["folds"], said["seed"]) == (1, 12, "4-fold", 3)
    assert said["accuracy_head"]["n"] == 12
    assert said["accuracy_head"]["low"] < said["accuracy_head"]["value"] <= said["accuracy_head"]["high"]
    live = registry.load(line.parent / "heads" / "line", encoder=None)
    assert (live.sha256, str(registry.bundle_path(line.parent / "heads" / "line", version=1))) == (
        said["sha256"],
        said["bundle"],
    )
    assert live.manifest.provenance["support_sha256"]


def test_text_names_accuracy_interval_and_the_file(line: Path) -> None:
    (line.parent / "images" / "ok" / "broken.png").write_bytes(b"no picture")
    result = run(line, "--out", str(line.parent / "elsewhere"))
    assert result.exit_code == 0, result.output
    assert "12 images of 3 classes, 4 each, validation: 4-fold" in result.output
    assert "broken.png (class ok): expected a picture" in result.output
    assert "95 % interval" in result.output
    assert (line.parent / "elsewhere" / "000001.head").is_file()


def test_a_second_fit_is_version_two_and_encodes_nothing(line: Path) -> None:
    first, second = (orjson.loads(run(line, "--json").stdout) for _ in range(2))
    assert (first["n_encoded"], second["n_encoded"]) == (12, 0)
    assert (first["version"], second["version"]) == (1, 2)


def test_shots_limit_the_images_of_a_class(line: Path) -> None:
    said = orjson.loads(run(line, "--json", "--shots", "2").stdout)
    assert (said["shots"], said["folds"]) == ([2, 2, 2], "leave-one-out")


def test_one_class_only_is_refused_and_nothing_is_written(line: Path) -> None:
    for name in ("dent", "scratch"):
        for path in (line.parent / "images" / name).iterdir():
            path.unlink()
        (line.parent / "images" / name).rmdir()
    error = error_of(run(line))
    assert isinstance(error, DataError)
    assert "at least two classes, got one: ok" in str(error)
    assert not (line.parent / "heads").exists()


def test_a_class_that_cannot_be_read_is_refused_and_the_live_head_stays(line: Path) -> None:
    run(line)
    for path in (line.parent / "images" / "ok").iterdir():
        path.write_bytes(b"")
    assert "readable image of class ok" in str(error_of(run(line)))
    assert registry.load(line.parent / "heads" / "line", encoder=None).version == 1


def test_texts_that_do_not_match_the_folders_are_refused_by_file_and_class(line: Path) -> None:
    (line.parent / "texts.yaml").write_text(TEXTS)
    config = write_config(line.parent, texts=f", texts: {line.parent}/texts.yaml")
    message = str(error_of(run(config)))
    assert "texts.yaml" in message
    assert "no texts for scratch and texts but no folder for blister" in message


def test_an_unwritable_registry_is_a_clear_error(line: Path) -> None:
    (line.parent / "heads").write_text("a file")
    assert "expected a folder to write heads to" in str(error_of(run(line)))


def test_a_bundle_for_another_encoder_is_refused(line: Path) -> None:
    run(line)
    encoder_of_another = registry.load(line.parent / "heads" / "line", encoder=None).manifest.encoder
    assert encoder_of_another["sha256"]
    from tests.fakes import FakeEncoder

    with pytest.raises(BundleError, match="expected encoder name"):
        registry.load(line.parent / "heads" / "line", encoder=FakeEncoder().info)


def test_labelled_images_are_cut_by_the_region_all_cameras_share(line: Path) -> None:
    one = write_config(line.parent, rois=", rois: [{id: a, x: 1, y: 2, width: 8, height: 8}]")
    assert common_roi(load_config(one).cameras).width == 8
    two = write_config(line.parent, rois=", rois: [{id: a, width: 8, height: 8}, {id: b, width: 9, height: 9}]")
    assert common_roi(load_config(two).cameras).width == 0
