"""Outcomes as messages: CloudEvents, debounced states, dead letters that lose nothing."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from pipeline.types import DeadLetter, Prediction
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from workers.kafka.message import KafkaPosition
from workers.kafka.packing import Packer, Topics
from workers.outbox.store import Parcel
from workers.sinks.states import CHANGES_KEPT

TOPICS = Topics(results="results", states="states", dead_letters="dlq")


@pytest.fixture
def packer() -> Packer:
    return Packer(topics=TOPICS, line="capline", clock=FakeClock(), state_after=3)


def states(packer: Packer, *predictions: Prediction) -> list[tuple[str, str | None]]:
    """(new label, previous label) of each change."""
    parcels = [parcel for one in predictions for parcel in packer.pack(one) if parcel.topic == "states"]
    bodies = [orjson.loads(parcel.value) for parcel in parcels]
    return [(body["label"], body["previous"]) for body in bodies]


def run(*labels: str, first: int = 0) -> list[Prediction]:
    return [make_prediction(sequence, label=label) for sequence, label in enumerate(labels, start=first)]


def test_a_result_is_a_cloud_event_in_binary_mode(packer: Packer) -> None:
    [parcel] = packer.pack(make_prediction(4))
    headers = dict(parcel.headers)
    body = orjson.loads(parcel.value)
    assert (parcel.topic, parcel.key, parcel.event_id) == ("results", b"cap-01", "cap-01-1-4-full")
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_type": b"clearline.result.v1",
        "ce_source": b"/clearline/capline",
        "ce_id": b"cap-01-1-4-full",
        "ce_time": body["time"]["decided"].encode(),
        "content-type": b"application/json",
    }
    assert body["event_id"] == "cap-01-1-4-full"


def test_a_state_changes_after_three_equal_labels(packer: Packer) -> None:
    labels = ["ok", "ok", "ok", "scratch", "ok", "scratch", "scratch", "scratch", "scratch"]
    assert states(packer, *run(*labels)) == [("ok", None), ("scratch", "ok")]


def test_a_state_is_keyed_by_camera_and_region_and_names_its_result(packer: Packer) -> None:
    [state] = [parcel for one in run("ok", "ok", "ok") for parcel in packer.pack(one) if parcel.topic == "states"]
    assert state.key == b"cap-01/full"
    assert state.event_id == "state-cap-01-1-2-full"
    assert dict(state.headers)["ce_id"] == b"state-cap-01-1-2-full"
    assert orjson.loads(state.value)["result_id"] == "cap-01-1-2-full"


def test_cameras_change_their_states_apart(packer: Packer) -> None:
    other = [make_prediction(sequence, source_id="cap-02") for sequence in range(2)]
    mixed = [one for pair in zip(run("ok", "ok"), other, strict=True) for one in pair]
    assert states(packer, *mixed) == []


def test_a_batch_that_is_packed_again_gives_the_same_messages(packer: Packer) -> None:
    batch = run("ok", "ok", "ok", "scratch", "scratch", "scratch", "ok")
    first = [parcel for one in batch for parcel in packer.pack(one)]
    assert [parcel for one in batch for parcel in packer.pack(one)] == first
    assert [parcel for one in batch[3:5] for parcel in packer.pack(one)] == first[4:6]


def test_frames_that_come_again_do_not_count_again(packer: Packer) -> None:
    batch = run("ok", "ok", "ok", "scratch", "scratch")
    assert states(packer, *batch) == [("ok", None)]
    assert states(packer, *batch[3:]) == []
    assert states(packer, *run("scratch", first=5)) == [("scratch", "ok")]


def test_a_camera_that_starts_anew_goes_on_with_its_state(packer: Packer) -> None:
    assert states(packer, *run("ok", "ok", "ok")) == [("ok", None)]
    again = [replace(one, ref=replace(one.ref, epoch=2)) for one in run("scratch", "scratch", "scratch")]
    assert states(packer, *again) == [("scratch", "ok")]


def test_the_memory_of_changes_is_bounded(packer: Packer) -> None:
    labels = [label for _ in range(CHANGES_KEPT) for label in ("ok", "ok", "ok", "scratch", "scratch", "scratch")]
    batch = run(*labels)
    assert len(states(packer, *batch)) == 2 * CHANGES_KEPT
    assert len(states(packer, *batch)) == CHANGES_KEPT


def letter(original: bytes, *, position: object) -> DeadLetter:
    ref = replace(make_ref(3), position=position)
    return DeadLetter("cap-01", "cut", "expected a whole picture \udcff", original, ref)


def test_a_letter_keeps_bytes_key_and_headers_and_says_where_it_lay(packer: Packer) -> None:
    original = bytes(range(256))
    at = KafkaPosition("frames", 2, 77, 1, 1_700_000_000_000, b"\x00key", (("camera", b"cap-01"), ("odd", b"\xff")))
    [parcel] = packer.pack(letter(original, position=at))
    told = dict(parcel.headers)
    assert (parcel.topic, parcel.key, parcel.value) == ("dlq", b"\x00key", original)
    assert parcel.headers[:2] == at.headers
    assert {name: told[name] for name in told if name.startswith("dlq_original")} == {
        "dlq_original_topic": b"frames",
        "dlq_original_partition": b"2",
        "dlq_original_offset": b"77",
        "dlq_original_timestamp": b"1700000000000",
    }
    assert (told["dlq_reason"], told["dlq_event_id"]) == (b"cut", b"cap-01-1-3-full")
    assert b"\\udcff" in told["dlq_message"]


def test_a_letter_that_was_one_before_tells_of_its_last_fault_only(packer: Packer) -> None:
    at = KafkaPosition("frames", 2, 77, 1, 0, None, (("dlq_reason", b"headers"), ("dlq_replays", b"1")))
    [parcel] = packer.pack(letter(b"x", position=at))
    assert [value for name, value in parcel.headers if name == "dlq_reason"] == [b"cut"]
    assert dict(parcel.headers)["dlq_replays"] == b"1"


def test_a_letter_of_a_camera_is_keyed_by_the_camera(packer: Packer) -> None:
    [parcel] = packer.pack(letter(b"x", position=None))
    assert isinstance(parcel, Parcel)
    assert parcel.key == b"cap-01"
    assert not [name for name, _ in parcel.headers if name.startswith("dlq_original")]
