"""What a configuration may say about parts and triggers, and what is refused before the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from workers.config.line import LineConfig, load_config
from workers.config.loading import ConfigFileError

TOKEN = "0123456789abcdef"
TRIGGER: dict[str, Any] = {"type": "http", "frames": 3}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(*, decision: dict[str, Any] | None = None, host: str = "127.0.0.1", **camera: Any) -> LineConfig:
        content = {
            "version": 1,
            "cameras": [{"id": "cap-01", "source": {"type": "simulate"}, **camera}],
            "head": {"texts": "t.yaml"},
            "decision": {"good_classes": ["ok"], **(decision or {})},
            "server": {"host": host},
        }
        path = tmp_path / "line.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_config(path)

    return load


def test_a_triggered_camera_blocks_and_its_parts_have_as_many_frames_as_a_trigger(load: Any) -> None:
    [camera] = load(trigger=TRIGGER, parts={"by": "trigger"}).cameras
    assert camera.full_policy == "block"
    assert camera.frames_per_part == 3
    [alone] = load().cameras
    assert (alone.full_policy, alone.frames_per_part) == ("drop_oldest", None)
    assert load(parts={"by": "header"}).cameras[0].frames_per_part == 8


def test_defaults_give_parts_to_all_cameras(tmp_path: Path) -> None:
    content = {
        "version": 1,
        "defaults": {"parts": {"by": "window", "window_ms": 100}},
        "cameras": [{"id": name, "source": {"type": "simulate"}} for name in ("a", "b")],
        "head": {"texts": "t.yaml"},
        "decision": {"good_classes": ["ok"]},
    }
    (tmp_path / "line.yaml").write_text(yaml.safe_dump(content))
    assert [one.parts.window_ms for one in load_config(tmp_path / "line.yaml").cameras if one.parts] == [100, 100]


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ({"parts": {"by": "trigger"}}, "must have trigger with parts.by: trigger"),
        ({"parts": {"by": "window"}}, "must have window_ms exactly with by: window"),
        ({"parts": {"by": "header", "window_ms": 5}}, "must have window_ms exactly with by: window"),
        ({"parts": {"by": "window", "window_ms": 500, "close_after_ms": 100}}, "close_after_ms of at least window_ms"),
        ({"parts": {"by": "header", "correlation": 1.5}}, "correlation"),
        ({"parts": {"by": "header", "max_frames": 100}}, "max_frames"),
        ({"trigger": TRIGGER, "parts": {"by": "trigger", "max_frames": 2}}, "at least trigger.frames .3., got 2"),
        ({"trigger": TRIGGER, "policy": "drop_oldest"}, "must have policy: block with trigger"),
        ({"trigger": TRIGGER, "source": {"type": "replay", "path": "x"}}, "a source that makes pictures"),
        ({"trigger": {**TRIGGER, "token": "short"}}, "a token of 16 characters or more"),
        ({"trigger": {**TRIGGER, "token": TOKEN, "token_file": "/dev/null"}}, "token or token_file, got both"),
        ({"trigger": TRIGGER, "host": "0.0.0.0"}, "must have trigger.token or token_file where other machines"),
        (
            {"trigger": {"type": "mqtt"}},
            "must have one sink of type mqtt with trigger.type mqtt",
        ),
        ({"parts": {"by": "header"}, "decision": {"guarantee": {"max_escape": 0.01}}}, "certified on single pictures"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(load: Any, camera: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigFileError, match=said) as refused:
        load(**camera)
    assert "short" not in str(refused.value)


def test_a_token_opens_the_trigger_to_other_machines(load: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    for key, value in (("token", TOKEN), ("token_file", str(tmp_path / "token"))):
        [camera] = load(host="0.0.0.0", trigger={**TRIGGER, key: value}).cameras
        assert camera.trigger.read_token() == TOKEN
        assert TOKEN not in repr(camera)
