"""`clearline validate --deep`: what would fail after the start is found before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from workers.commands.validate import validate
from workers.commands.validate_deep import deep_problems
from workers.config.line import load_config
from workers.sources import aravis

APP = typer.Typer()
APP.command()(validate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids)
    return folder


def _found(folder: Path, *, sources: list[dict[str, Any]] | None = None, **sections: Any) -> dict[str, str]:
    return dict(deep_problems(load_config(write_config(folder, sources=sources or [simulated(3)], **sections))))


def _zero_shot(folder: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "zero_shot", "texts": str(TEXTS), "cache": str(folder / "cache"), **more}


def test_a_line_that_can_start_has_no_problems(folder: Path) -> None:
    assert _found(folder) == {}
    done = CliRunner().invoke(APP, [str(folder / "line.yaml"), "--deep"])
    assert (done.exit_code, done.stderr) == (0, "")


def test_each_problem_is_one_line_with_its_key_and_the_exit_code_is_2(tmp_path: Path) -> None:
    path = write_config(tmp_path, sources=[{"type": "replay", "path": str(tmp_path / "gone.mp4")}])
    assert CliRunner().invoke(APP, [str(path)]).exit_code == 0
    done = CliRunner().invoke(APP, [str(path), "--deep"])
    assert done.exit_code == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["head.registry", "cameras[0].source.path"]
    plain = orjson.loads(CliRunner().invoke(APP, [str(path), "--deep", "--json"]).stdout)
    assert [one["key"] for one in plain["problems"]] == ["head.registry", "cameras[0].source.path"]


def test_a_gige_vision_camera_needs_its_library_and_regions_inside_what_it_sends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"type": "gige", "region": {"width": 640, "height": 480}}
    text = write_config(folder, sources=[source]).read_text()
    path = folder / "gige.yaml"
    rois = "rois: [{id: left, x: 600, y: 0, width: 100, height: 50}]"
    path.write_text(text.replace("- id: cap-01", f"- id: cap-01\n  {rois}"))
    monkeypatch.setattr(aravis, "LIBRARY", "libaravis-absent.so.0")
    aravis.load_aravis.cache_clear()
    found = dict(deep_problems(load_config(path)))
    aravis.load_aravis.cache_clear()
    assert "apt-get install libaravis-0.8-0" in found["cameras[0].source.type"]
    assert "reaches to 700 x 50, but the picture is 640 x 480" in found["cameras[0].rois[0]"]


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    encoder = {"model": "ViT-B-32", "checkpoint": str(tmp_path / "weights.safetensors")}
    found = _found(tmp_path, encoder=encoder, head=_zero_shot(tmp_path, texts=str(tmp_path / "t.yaml")))
    assert set(found) == {"encoder.checkpoint", "head.texts"}
    onnx = {"backend": "onnx", "onnx": {"path": str(tmp_path / "m.onnx")}}
    assert "encoder.onnx.path" in _found(tmp_path, encoder=onnx)


def test_an_onnx_encoder_reads_no_texts(tmp_path: Path) -> None:
    model = tmp_path / "toy.onnx"
    model.write_bytes(b"any")
    onnx = {"backend": "onnx", "onnx": {"path": str(model)}}
    assert set(_found(tmp_path, encoder=onnx, head=_zero_shot(tmp_path))) == {"head.kind"}


def test_a_head_of_another_encoder_is_found_by_its_name(folder: Path) -> None:
    encoder = {"model": "ViT-B-32", "pretrained": "openai"}
    found = _found(folder, encoder=encoder)
    assert found["encoder.model"].startswith("gives ViT-B-32/openai, but the head was fitted on demo_clip")


def test_classes_the_head_does_not_know_are_named_by_key(folder: Path) -> None:
    decision = {
        "good_classes": ["clean_plate", "fine"],
        "thresholds": {"dent": 0.6},
        "line_mix": {"clean_plate": 1, "scratch": 2},
        "costs": {"pairs": {"dented_plate": {"review": 1, "good": 3}}},
    }
    found = _found(folder, decision=decision)
    said = {key: text.split(",")[0] for key, text in found.items()}
    assert said == {
        "decision.good_classes": "names fine",
        "decision.thresholds": "names dent",
        "decision.line_mix": "names scratch",
        "decision.costs.pairs": "names good",
    }


def test_without_a_head_the_texts_say_what_classes_there_are(tmp_path: Path) -> None:
    found = _found(tmp_path, head=_zero_shot(tmp_path), decision={"good_classes": ["fine"]})
    assert set(found) == {"decision.good_classes"}


def test_a_region_outside_a_picture_of_known_size_is_found(folder: Path) -> None:
    text = write_config(folder, sources=[simulated(3)]).read_text()
    rois = "rois: [{id: ok, width: 160, height: 128}, {id: out, x: 100, width: 61, height: 50}]"
    path = folder / "outside.yaml"
    path.write_text(text.replace("- id: cap-01", f"- id: cap-01\n  {rois}"))
    expected = "reaches to 161 x 50, but the picture is 160 x 128 pixels"
    assert deep_problems(load_config(path)) == [("cameras[0].rois[1]", expected)]


def test_paths_must_be_writable_and_each_its_own(folder: Path) -> None:
    (folder / "file").write_text("x")
    sinks = [{"type": "jsonl", "path": str(folder / "file" / "a.jsonl")}]
    assert set(_found(folder, sinks=sinks)) == {"sinks[0].path"}
    same = str(folder / "same")
    sinks = [{"type": "jsonl", "path": same}, {"type": "kafka", "outbox": {"path": same}}]
    found = _found(folder, sinks=sinks, kafka={"bootstrap": "127.0.0.1:9092"})
    assert found == {"sinks[1].outbox.path": f"must have a path of its own, got {same}, which is sinks[0].path already"}


def test_exactly_once_needs_one_source_of_type_kafka_or_a_worker_that_brings_it(folder: Path) -> None:
    sinks = [{"type": "kafka", "delivery": "exactly_once"}]
    kafka = {"bootstrap": "127.0.0.1:9092"}
    assert set(_found(folder, sinks=sinks, kafka=kafka)) == {"sinks[0].delivery"}
    assert _found(folder, sinks=sinks, kafka=kafka, sources=[{"type": "kafka"}]) == {}
    assert _found(folder, sinks=sinks, kafka=kafka, topic_reader={"type": "kafka"}) == {}
    assert set(_found(folder, topic_reader={"type": "kafka"})) == {"topic_reader"}


def test_adaptation_needs_a_fitted_head_of_embeddings_alone(folder: Path, tmp_path: Path) -> None:
    given = {"folder": str(tmp_path / "adaptation")}
    assert _found(folder, adaptation=given) == {}
    assert set(_found(tmp_path, head=_zero_shot(tmp_path), adaptation=given)) == {"adaptation"}


def test_sinks_that_cannot_start_are_named(folder: Path) -> None:
    sinks = [{"type": "opcua", "port": 9109}, {"type": "archive", "folder": "nonsense://h/x"}]
    found = _found(folder, sinks=sinks, server={"port": 9109})
    assert "which is server.port already" in found["sinks[0].port"]
    assert "pip install 'clearline[fsspec]'" in found["sinks[1].folder"]


def test_our_port_is_not_where_another_is_expected(folder: Path) -> None:
    found = _found(folder, kafka={"bootstrap": "127.0.0.1:9109"}, server={"port": 9109})
    assert set(found) == {"server.port"}
    assert _found(folder, kafka={"bootstrap": "broker:9109"}, server={"port": 9109}) == {}
