"""Every kind of head from labelled folder to a running line, unlabelled pictures, tuning, and folders under `eval`."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import DataError
from pipeline.heads.bundles import registry
from pipeline.heads.simple.zero_shot import unit_rows
from pipeline.simulation.line import SimulatedLine
from pipeline.types import EncoderInfo, FrameRef
from tests.lines import SEED, SIZE, simulated, write_config
from workers.app import Pipeline
from workers.commands.demo import render_labelled
from workers.commands.head import app, as_text, fit_folder
from workers.config.line import load_config
from workers.opening.line import open_encoder

CLASSES = ("clean_plate", "scratched_plate", "dented_plate")
TEXTS = """
schema_version: 1
line: plates
language: en
templates: ["a photo of a {}."]
classes:
  clean_plate: {name: clean metal plate, attributes: [even grey surface]}
  dented_plate: {name: dented metal plate, attributes: [a shallow round dent]}
  scratched_plate: {name: scratched metal plate, attributes: [a thin bright line]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight rendered pictures of three classes, and as many without labels."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "texts.yaml").write_text(TEXTS, encoding="utf-8")
    line = SimulatedLine(SEED, **SIZE)
    for class_id in CLASSES:
        render_labelled([line], class_id=class_id, n=8, folder=folder / "labelled")
        render_labelled([SimulatedLine(SEED + 1, **SIZE)], class_id=class_id, n=8, folder=folder / "unlabelled")
    return folder


@pytest.fixture(scope="module")
def encoder(home: Path) -> EncoderBundle:
    return open_encoder(load_config(configured(home, kind="auto")))


def configured(home: Path, *, kind: str, texts: bool = True) -> Path:
    head = {"kind": kind, "name": kind, "registry": str(home / "heads"), "cache": str(home / "cache")}
    return write_config(
        home, sources=[simulated(6)], head=head | ({"texts": str(home / "texts.yaml")} if texts else {})
    )


@pytest.mark.parametrize("kind", ["auto", "coder_adapter", "gda", "kernel_ridge"])
def test_a_line_runs_any_kind_of_head_it_was_fitted_with(home: Path, kind: str, encoder: EncoderBundle) -> None:
    path = configured(home, kind=kind)
    fit_folder(home / "labelled", config=load_config(path), shots=4, encoder=encoder)
    with Pipeline.from_config(path) as pipeline:
        labels = {one.label for one in pipeline.results()}
    assert labels
    assert labels <= set(CLASSES)
    assert registry.load(home / "heads" / kind, encoder=None).manifest.settings["kind"] in (kind, "zero_shot")


def test_tuning_reports_the_curves_it_searched(home: Path, encoder: EncoderBundle) -> None:
    config = load_config(configured(home, kind="coder"))
    done = fit_folder(home / "labelled", config=config, tune=True, encoder=encoder)
    choice = done.report.choice
    assert choice is not None
    assert choice["k_curve"][-1]["k"] is None
    assert len(choice["weight_curve"]) == 4
    [searched] = [line for line in as_text(done) if line.startswith("searched out of fold: ")]
    assert f"gamma {choice['gamma']:g}" in searched
    assert f"k {choice['k'] or 'all texts'}" in searched


def test_unlabelled_pictures_are_used_or_left_out_with_a_reason(home: Path, encoder: EncoderBundle) -> None:
    config = load_config(configured(home, kind="auto"))
    done = fit_folder(home / "labelled", config=config, shots=4, unlabelled=home / "unlabelled", encoder=encoder)
    assert done.report.choice is not None
    assert done.report.choice["pool"]["n_offered"] == 24
    assert {trial["name"] for trial in done.report.choice["trials"]} >= {"pool"}


def test_an_empty_folder_of_unlabelled_pictures_is_refused(home: Path, encoder: EncoderBundle, tmp_path: Path) -> None:
    config = load_config(configured(home, kind="auto"))
    with pytest.raises(DataError, match="expected a folder with pictures or a line's recording"):
        fit_folder(home / "labelled", config=config, unlabelled=tmp_path, encoder=encoder)


def test_a_class_of_one_picture_is_refused_by_name_and_the_live_head_stays(
    home: Path, encoder: EncoderBundle, tmp_path: Path
) -> None:
    config = load_config(configured(home, kind="gda"))
    live = fit_folder(home / "labelled", config=config, shots=2, out=tmp_path / "heads", encoder=encoder).bundle
    pictures = tmp_path / "pictures"
    shutil.copytree(home / "labelled", pictures)
    kept, *others = sorted((pictures / "dented_plate").iterdir())
    for path in others:
        path.unlink()
    with pytest.raises(DataError, match=rf"images of class dented_plate.* got {re.escape(kept.name)} alone"):
        fit_folder(pictures, config=config, out=tmp_path / "heads", encoder=encoder)
    assert registry.load(tmp_path / "heads", encoder=encoder.image.info).sha256 == live.sha256
    one_shot = fit_folder(pictures, config=config, shots=1, out=tmp_path / "heads", encoder=encoder)
    assert one_shot.report.folds == "none"


def recorded(folder: Path, *, info: EncoderInfo, n: int) -> Path:
    rows = np.random.default_rng(0).normal(size=(n, info.embedding_dim)).astype(np.float32)
    recording = EmbeddingRecording(folder, encoder=info)
    refs = [FrameRef("cam", 1, i, "full", float(i), "wall", float(i)) for i in range(n)]
    nothing = {"labels": np.zeros(n, np.int64), "confidences": np.ones(n, np.float32), "head_version": 1}
    recording.append(refs, embeddings=unit_rows(rows), **nothing, at=float(n))  # type: ignore[arg-type]
    recording.close()
    return folder


def test_the_recording_of_a_running_line_is_a_pool_too(home: Path, encoder: EncoderBundle, tmp_path: Path) -> None:
    config = load_config(configured(home, kind="auto"))
    folder = recorded(tmp_path / "recording", info=encoder.image.info, n=30)
    done = fit_folder(home / "labelled", config=config, shots=4, unlabelled=folder, encoder=encoder)
    assert done.report.choice is not None
    assert done.report.choice["pool"]["n_offered"] == 30


def test_a_recording_of_another_encoder_is_refused(home: Path, encoder: EncoderBundle, tmp_path: Path) -> None:
    folder = recorded(tmp_path / "recording", info=replace(encoder.image.info, sha256="0" * 64), n=5)
    with pytest.raises(DataError, match="another encoder or another preprocessing made them"):
        fit_folder(home / "labelled", config=load_config(configured(home, kind="auto")), unlabelled=folder)


def test_a_bundle_keeps_what_judged_it_and_what_explains_it(home: Path, encoder: EncoderBundle) -> None:
    config = load_config(configured(home, kind="auto"))
    bundle = fit_folder(home / "labelled", config=config, shots=4, encoder=encoder).bundle
    kept = registry.load(home / "heads" / "auto", encoder=encoder.image.info, version=bundle.version).evidence
    assert kept.held_out is not None
    assert kept.held_out.logits.shape == (12, 3)
    assert kept.support is not None
    assert kept.support.names[0].startswith("clean_plate/")
    assert kept.texts is not None
    assert len(kept.texts.phrases) == len(kept.texts.vectors)


def test_a_folder_is_judged_on_images_no_head_was_fitted_on(home: Path) -> None:
    path = configured(home, kind="auto")
    arguments = ["eval", str(home / "labelled"), "--config", str(path), "--shots", "2", "--seeds", "2", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--heads", "zero_shot,auto,ldc,coder"])
    assert result.exit_code == 0, result.output
    rows = orjson.loads(result.output.splitlines()[-1])["rows"]
    assert [row["head"] for row in rows] == ["zero_shot", "auto", "ldc", "coder"]
    assert all(0 < row["accuracy"] <= 1 for row in rows)
    assert rows[1]["draws"][0]["sha256"] != rows[1]["draws"][1]["sha256"]


def test_a_folder_with_a_class_of_one_image_cannot_judge_and_says_which(home: Path, tmp_path: Path) -> None:
    for class_id, n in (("clean_plate", 4), ("dented_plate", 1)):
        render_labelled([SimulatedLine(SEED, **SIZE)], class_id=class_id, n=n, folder=tmp_path / "few")
    config = configured(home, kind="auto", texts=False)
    result = CliRunner().invoke(app, ["eval", str(tmp_path / "few"), "--config", str(config)])
    assert result.exit_code == 3
    assert "4 different images of class dented_plate" in result.output.replace("\n", " ")
