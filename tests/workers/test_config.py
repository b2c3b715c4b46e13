"""One YAML file: read, interpolated, merged, checked whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.simulation import KINDS
from pipeline.types import Roi
from tests.conftest import ROOT
from workers.config import adaptation as config_adaptation
from workers.config import cameras as config_cameras
from workers.config import decision as config_decision
from workers.config import kafka as config_kafka
from workers.config import line as config
from workers.config import parts as config_parts
from workers.config import sinks as config_sinks
from workers.config.line import CameraSourceConfig, ConfigFileError, LineConfig, json_schema, load_config

MINIMAL = """\
version: 1
cameras:
  - id: cap-01
    source: {type: simulate}
head: {texts: t.yaml}
decision: {good_classes: [ok]}
"""
SECTIONS = (config, config_adaptation, config_cameras, config_decision, config_kafka, config_parts, config_sinks)
PASSWORD = "hunter2-do-not-show"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("line.yaml").write_text(text)
        return Path("line.yaml")

    return write


def _load(path: Path, **environ: str) -> LineConfig:
    return load_config(path, environ=environ)


def _problems(path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        load_config(path, environ=environ)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_a_short_file_is_enough_and_the_rest_has_defaults(write: Any) -> None:
    line = _load(write(MINIMAL))
    assert (line.server.host, line.server.port) == ("127.0.0.1", 9109)
    assert line.cameras[0].rois[0].to_roi() == Roi()
    assert line.sinks[0].path == Path("runs/results.jsonl")
    assert line.batching.sizes is None


def test_nothing_can_be_changed_after_loading(write: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        _load(write(MINIMAL)).server.port = 1


@pytest.mark.parametrize("name", ["demo", "example"])
def test_the_shipped_files_are_valid(name: str) -> None:
    assert load_config(ROOT / "configs" / f"{name}.yaml", environ={}).cameras


def test_the_example_names_every_key_there_is() -> None:
    text = (ROOT / "configs" / "example.yaml").read_text()
    models = [
        value
        for module in (
            config,
            config_adaptation,
            config_cameras,
            config_decision,
            config_kafka,
            config_parts,
            config_sinks,
        )
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    ]
    keys = {key for model in models for key in model.model_fields}
    missing = sorted(key for key in keys if f"{key}:" not in text)
    assert len(keys) > 50
    assert missing == []


@pytest.mark.parametrize("name", ["demo", "example"])
def test_the_shipped_files_satisfy_the_printed_schema(name: str) -> None:
    document = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    Draft202012Validator.check_schema(json_schema())
    Draft202012Validator(json_schema()).validate(document)


def test_the_schema_refuses_an_unknown_key_in_the_defaults() -> None:
    document = {**yaml.safe_load(MINIMAL), "defaults": {"polcy": "block"}}
    assert not Draft202012Validator(json_schema()).is_valid(document)


def test_the_disturbances_of_the_file_are_those_of_the_simulator(write: Any) -> None:
    kinds = ", ".join(f"{{kind: {kind}}}" for kind in KINDS)
    line = _load(write(MINIMAL.replace("{type: simulate}", f"{{type: simulate, disturbances: [{kinds}]}}")))
    source = line.cameras[0].source
    assert source.type == "simulate"
    assert [one.kind for one in source.disturbances] == list(KINDS)


@pytest.mark.parametrize(
    ("source", "policy"),
    [
        ("{type: simulate}", "drop_oldest"),
        ("{type: simulate, speed: as_fast}", "block"),
        ("{type: replay, path: x.mp4}", "block"),
        ("{type: replay, path: x.mp4, speed: real_time}", "block"),
        ("{type: camera, url: 0}", "drop_oldest"),
        ("{type: gige}", "drop_oldest"),
        ("{type: gige, trigger: Line1}", "block"),
    ],
)
def test_the_policy_follows_the_source_unless_given(write: Any, source: str, policy: str) -> None:
    text = MINIMAL.replace("{type: simulate}", source)
    assert _load(write(text)).cameras[0].full_policy == policy
    assert _load(write(text + "defaults: {policy: block}\n")).cameras[0].full_policy == "block"


def test_defaults_reach_every_camera_and_a_camera_overrides_key_by_key(write: Any) -> None:
    path = write(
        MINIMAL
        + "defaults: {queue_frames: 3, source: {type: simulate, fps: 5, seed: 9}, backoff: {initial_ms: 7}}\n".replace(
            "", ""
        )
    )
    text = path.read_text().replace(
        "source: {type: simulate}",
        "source: {seed: 4}\n    backoff: {cap_ms: 99}\n  - {id: cap-02, source: {type: replay, path: x}}",
    )
    first, second = _load(write(text)).cameras
    assert first.source.type == "simulate"
    assert (first.source.fps, first.source.seed, first.queue_frames) == (5, 4, 3)
    assert (first.backoff.initial_ms, first.backoff.cap_ms) == (7, 99)
    assert second.source.type == "replay"
    assert second.queue_frames == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("texts: t.yaml", "text: t.yaml", "head.text: unknown key, did you mean 'texts'? (line 5)"),
        (
            "{type: simulate}",
            "{type: camera, ur1: x}",
            "cameras[0].source.ur1: unknown key, did you mean 'url'? (line 4)",
        ),
        (
            "{type: simulate}",
            "{type: simulate, qqqq: 1}",
            "cameras[0].source.qqqq: unknown key, known here: type, seed,",
        ),
        ("version: 1", "version: 2", "version must be 1, got 2 (line 1)"),
        ("version: 1\n", "", "version is required"),
        ("cap-01", "cap 1", "cameras[0].id must be letters, digits,"),
        (
            "{type: simulate}",
            "{type: simulat}",
            "source.type must be 'simulate', 'replay', 'camera', 'gige', 'kafka', got 'simulat'",
        ),
        ("{type: simulate}", "{}", "cameras[0].source.type is required (line 4)"),
        ("{type: simulate}", "{type: simulate, fps: .inf}", "cameras[0].source.fps must be a finite number, got inf"),
        ("{type: simulate}", "{type: simulate, fps: fast}", "cameras[0].source.fps must be a number, got 'fast'"),
        (
            "{type: simulate}",
            "{type: simulate, weights: {cat: 1}}",
            "source.weights must name classes of the simulator",
        ),
        (
            "{type: simulate}",
            "{type: gige, trigger: Line1, frame_rate: 5}",
            "source must not have a frame_rate when Line1 triggers the camera: remove one of them",
        ),
        ("{type: simulate}", "{type: camera}", "source needs exactly one of url and url_file, got none"),
        ("{type: simulate}", "{type: camera, url: a, url_file: b}", "url and url_file, got url and url_file"),
        ("{type: simulate}", "{type: camera, url_file: gone}", "got gone: No such file or directory"),
        ("[ok]", "[]", "decision.good_classes must be a list of at least 1, got []"),
        ("[ok]", "[ok, ok]", "decision.good_classes must have different classes, got 'ok' twice"),
        ("[ok]}", "[ok], thresholds: {ok: 2}}", "decision.thresholds.ok must be at most 1.0, got 2"),
        ("head:", "batching: {sizes: [32, 8]}\nhead:", "batching.sizes must be ascending, got [32, 8] (line 5)"),
        ("head:", "batching: {sizes: [1, x]}\nhead:", "batching.sizes[1] must be a whole number, got 'x'"),
        ("texts: t.yaml", "version: 0, texts: t", "head.version must be 'live' or at least 1, got 0"),
        ("texts: t.yaml", "kind: zero_shot", "head must have texts with kind: zero_shot, got none"),
        ("head:", "encoder: {backend: onnx}\nhead:", "encoder must have onnx exactly with backend: onnx"),
        (
            "head:",
            "encoder: {pretrained: a, checkpoint: b}\nhead:",
            "encoder must have pretrained or checkpoint, got both",
        ),
        (
            "head:",
            "sinks: [{type: kafka}]\nhead:",
            "must have the section kafka with a source or sink of type kafka, got none",
        ),
        ("head:", "sinks: [{type: jsonl}, {type: jsonl}]\nhead:", "sinks must have different paths"),
        ("head:", "server: {port: 70000}\nhead:", "server.port must be at most 65535, got 70000"),
        ("head:", "defaults: {id: x}\nhead:", "defaults must not have id"),
        ("head:", "defaults: {backof: {}}\nhead:", "defaults.backof: unknown key, did you mean 'backoff'? (line 5)"),
        ("head:", "head: {}\nhead:", "line.yaml: head: is there twice (line 6)"),
        ("head:", "head: [\nhead:", "line.yaml: is not valid YAML:"),
        ("[ok]", "!!python/name:os.system", "line.yaml: is not valid YAML:"),
    ],
)
def test_what_is_wrong_is_said_with_place_expectation_and_value(write: Any, old: str, new: str, said: str) -> None:
    problems = _problems(write(MINIMAL.replace(old, new, 1)))
    assert len(problems) == 1, problems
    assert problems[0].startswith("line.yaml: ")
    assert said in problems[0]


def test_every_problem_is_reported_in_the_order_of_the_file(write: Any) -> None:
    text = MINIMAL.replace("simulate}", "simulate, fps: x, sed: 1}").replace("[ok]", "[]")
    keys = [problem.split(": ", 1)[1].split(" ")[0].rstrip(":") for problem in _problems(write(text))]
    assert keys == ["cameras[0].source.fps", "cameras[0].source.sed", "decision.good_classes"]


def test_no_camera_and_two_of_one_name_are_refused(write: Any) -> None:
    none = MINIMAL.replace("  - id: cap-01\n    source: {type: simulate}\n", "  []\n")
    assert "cameras must be a list of at least 1, got []" in _problems(write(none))[0]
    two = MINIMAL.replace("head:", "  - {id: cap-01, source: {type: simulate}}\nhead:")
    assert "cameras must have different ids, got 'cap-01' twice" in _problems(write(two))[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "got an empty file"),
        (b"- 1", "got a list"),
        (b"\xff\xfe\x00", "must be UTF-8 text"),
        (b"a: &x [*x]", "anchor"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(write: Any, content: bytes, said: str) -> None:
    path = write("")
    path.write_bytes(content)
    assert said in _problems(path)[0]


def test_a_missing_file_is_a_config_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "nope.yaml")


def test_the_environment_fills_in_values_with_defaults_and_an_escape(write: Any) -> None:
    text = MINIMAL.replace("texts: t.yaml", 'texts: "${DIR}/${FILE:-t.yaml}", name: "${NAME:-x}"')
    line = _load(write(text + 'server: {port: "${PORT:-1}"}\n'), DIR="a", PORT="8080", NAME="")
    assert line.head.texts == Path("a/t.yaml")
    assert line.head.name == "x"
    assert line.server.port == 8080
    literal = _load(write(MINIMAL.replace("texts: t.yaml", 'texts: "$${DIR}"')))
    assert literal.head.texts == Path("${DIR}")


def test_an_unset_variable_is_named_once(write: Any) -> None:
    problems = _problems(write(MINIMAL + 'server: {port: "${PORT}"}\n'))
    assert problems == [
        "line.yaml: server.port needs the environment variable PORT, which is not set: "
        "set it, or write ${PORT:-default} (line 7)"
    ]


@pytest.mark.parametrize(
    "source",
    [
        f"{{type: camera, url: 'rtsp://u:{PASSWORD}@h', open_timeout_ms: 0}}",
        f"rtsp://u:{PASSWORD}@h",
        f"{{type: camera, url: [{PASSWORD}]}}",
        f"{{type: camera, url_file: 'rtsp://u:{PASSWORD}@h', urls: 'rtsp://u:{PASSWORD}@h'}}",
        f"{{type: 'rtsp://u:{PASSWORD}@h'}}",
        "{type: camera, url: 0, transport: '${SECRET}'}",
        f"{{type: camera, url: 'rtsp://u:{PASSWORD}@h'",
    ],
)
def test_no_message_shows_a_password(write: Any, source: str) -> None:
    problems = _problems(write(MINIMAL.replace("{type: simulate}", source)), SECRET=PASSWORD)
    assert PASSWORD not in "\n".join(problems)


def test_no_form_of_the_configuration_shows_a_url(write: Any) -> None:
    url = f"rtsp://u:{PASSWORD}@h/1"
    text = (
        MINIMAL.replace("{type: simulate}", "{type: camera}")
        + f"defaults: {{source: {{type: camera, url: '{url}'}}}}\n"
    )
    line = _load(write(text))
    for shown in (repr(line), str(line), str(line.model_dump()), line.model_dump_json()):
        assert PASSWORD not in shown
    source = line.cameras[0].source
    assert isinstance(source, CameraSourceConfig)
    assert source.read_url() == url


def test_a_url_file_is_read_anew_and_its_absence_later_is_a_reason_to_retry(write: Any) -> None:
    path = write(MINIMAL.replace("{type: simulate}", "{type: camera, url_file: secret}"))
    Path("secret").write_text("rtsp://one\n")
    source = _load(path).cameras[0].source
    assert isinstance(source, CameraSourceConfig)
    assert source.read_url() == "rtsp://one"
    Path("secret").write_text("rtsp://two")
    assert source.read_url() == "rtsp://two"
    Path("secret").unlink()
    with pytest.raises(SourceUnavailable, match="secret"):
        source.read_url()


@pytest.mark.parametrize(("url", "expected"), [("0", 0), ("'1'", 1), ("rtsp://h/1", "rtsp://h/1")])
def test_a_device_index_is_a_number(write: Any, url: str, expected: int | str) -> None:
    source = _load(write(MINIMAL.replace("{type: simulate}", f"{{type: camera, url: {url}}}"))).cameras[0].source
    assert isinstance(source, CameraSourceConfig)
    assert source.read_url() == expected


def test_a_region_has_a_size_or_is_the_whole_picture(write: Any) -> None:
    text = MINIMAL.replace("head:", "    rois: [{id: a, x: 3}, {id: a}]\nhead:")
    assert "cameras[0].rois[0] must have a width and a height in pixels" in _problems(write(text))[0]
    text = MINIMAL.replace("head:", "    rois: [{id: a, width: 3, height: 3}, {id: a}]\nhead:")
    assert "cameras[0].rois must have different ids, got 'a' twice" in _problems(write(text))[0]
