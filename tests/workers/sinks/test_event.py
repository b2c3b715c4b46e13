"""The body of a result event and its shipped schema."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from pipeline.types import Confusion
from tests.making import make_prediction
from workers.sinks.event import SCHEMA_VERSION, printable, rfc3339, to_event, to_line

OFFSET_S = 1_700_000_000.0
SCHEMA: dict[str, Any] = orjson.loads(
    files("workers.sinks").joinpath(f"result-{SCHEMA_VERSION}.schema.json").read_bytes()
)


def _event(truth: str | None = None, *, part: str | None = None, n_frames: int = 1) -> dict[str, Any]:
    one = make_prediction(3, truth=truth)
    ref = replace(one.ref, part=part)
    members = (ref, *(replace(ref, sequence=4 + n) for n in range(n_frames - 1))) if n_frames > 1 else ()
    made = replace(one, ref=ref, members=members)
    loaded: dict[str, Any] = orjson.loads(to_line(to_event(made, clock_utc_offset=OFFSET_S)))
    return loaded


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("truth", [None, "ok"])
def test_an_event_satisfies_the_shipped_schema(truth: str | None) -> None:
    Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(_event(truth))


def test_the_schema_describes_every_key_and_an_event_has_every_key() -> None:
    def compare(value: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        assert set(value) == set(schema["properties"]), where
        for key, child in value.items():
            if "properties" in schema["properties"][key]:
                compare(child, schema["properties"][key], f"{where}.{key}")

    compare(_event("ok", part="p7"), SCHEMA, "event")


def test_a_decided_part_says_which_and_of_how_many_frames_under_the_id_of_its_first() -> None:
    event = _event(part="lot7-0001", n_frames=3)
    assert event["part"] == {"id": "lot7-0001", "n_frames": 3}
    assert event["event_id"] == "cap-01-1-3-full"
    Draft202012Validator(SCHEMA).validate(event)
    assert "part" not in _event()


def test_the_schema_refuses_what_is_not_a_result() -> None:
    validator = Draft202012Validator(SCHEMA)
    event = _event()
    assert not validator.is_valid({**event, "schema_version": "2.0"})
    assert not validator.is_valid({**event, "result": {**event["result"], "decision": "maybe"}})
    assert not validator.is_valid({key: value for key, value in event.items() if key != "event_id"})
    assert not validator.is_valid({**event, "time": {**event["time"], "decided": "2026-01-31 08:15:14"}})


def test_times_are_utc_with_milliseconds_and_monotonic_instants_are_shifted() -> None:
    assert _event()["time"] == {
        "captured": "2023-11-14T22:13:23.000Z",
        "capture_time_source": "host",
        "received": "2023-11-14T22:30:00.000Z",
        "decided": "2023-11-14T22:30:01.000Z",
    }
    assert rfc3339(1_769_847_314.8704) == "2026-01-31T08:15:14.870Z"


def test_truth_is_there_only_where_it_is_known() -> None:
    assert _event("scratch")["truth"] == "scratch"
    assert "truth" not in _event()


def test_both_verdicts_are_in_the_result() -> None:
    event = to_event(make_prediction(label="scratch", zero_shot_label="ok"), clock_utc_offset=OFFSET_S)
    assert (event["result"]["label"], event["result"]["zero_shot"]) == ("scratch", "ok")


def test_a_margin_that_is_not_finite_becomes_null_and_stays_valid_json() -> None:
    prediction = replace(make_prediction(), confusion=Confusion("", float("inf"), float("nan"), 0.0))
    event = orjson.loads(to_line(to_event(prediction, clock_utc_offset=OFFSET_S)))
    assert event["confusion"]["margin"] is None
    Draft202012Validator(SCHEMA).validate(event)


def test_a_file_name_that_is_no_text_is_shown_escaped() -> None:
    prediction = make_prediction()
    named = replace(prediction, ref=replace(prediction.ref, name="part\udcff.jpg"))
    line = to_line(to_event(named, clock_utc_offset=OFFSET_S))
    assert orjson.loads(line)["frame"]["ref"] == printable("part\udcff.jpg") == "part\\udcff.jpg"


def test_an_event_is_one_line_even_with_a_newline_in_a_label() -> None:
    line = to_line(to_event(make_prediction(label="two\nlines"), clock_utc_offset=OFFSET_S))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
