"""States and events survive JSON exactly; anything else is refused by name."""

from __future__ import annotations

import json
import random

import pytest

from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.codec import event_from_json, event_to_json, state_from_json, state_to_json
from pipeline.adaptation.lifecycle.machine import step
from pipeline.errors import DataError
from tests.adaptation.lifecycle.driving import FIRST, next_event


def test_every_state_and_event_of_a_long_life_comes_back_equal() -> None:
    chance, state, kinds = random.Random(0), FIRST, set()
    for _ in range(600):
        event = next_event(state, chance=chance)
        assert event_from_json(event_to_json(event)) == event
        assert state_from_json(state_to_json(state)) == state
        kinds.add(type(event))
        state, _ = step(state, event)
    assert len(kinds) == 17, "every kind of event came up"


def test_whole_seconds_come_back_as_numbers_of_the_same_value() -> None:
    assert event_from_json(event_to_json(ev.PointerMoved(5, 2))) == ev.PointerMoved(5.0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a JSON object"),
        ('{"event": "Exploded", "at": 1.0}', "got 'Exploded'"),
        ('{"event": "Ticked"}', "difference in at"),
        ('{"event": "Ticked", "at": "noon"}', "Ticked.at: expected float"),
        ('{"event": "PointerMoved", "at": 1.0, "version": true}', "expected int"),
    ],
)
def test_a_foreign_event_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        event_from_json(text)


@pytest.mark.parametrize(("key", "value"), [("state", "asleep"), ("champion", "1"), ("promoted_at", ["x"]), ("run", 3)])
def test_a_state_of_another_shape_is_refused(key: str, value: object) -> None:
    changed = {**json.loads(state_to_json(FIRST)), key: value}
    with pytest.raises(DataError, match=f"RunState.{key}: expected"):
        state_from_json(json.dumps(changed))
