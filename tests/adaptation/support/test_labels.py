"""Labels are read exactly, and what several of them say together does not depend on their order."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adaptation.support.labels import AUDIT_REST_S, Label, Stream, parse_label, standing_of
from pipeline.errors import DataError
from tests.adaptation.support.making_support import NOW, label

PLAIN: dict[str, Any] = {
    "event_id": "cap-01-1-7-full",
    "label": "scratch",
    "labeller": "ada",
    "labelled_at": NOW,
    "stream": "teach",
}


def test_a_label_survives_being_written_and_read() -> None:
    one = Label("e", "ok", "ada", NOW, Stream.AUDIT, inclusion_probability=0.005, blind=True, model_label="dent")
    assert parse_label(one.to_json()) == one


def test_a_row_of_csv_gives_the_same_label_as_json() -> None:
    row = {k: str(v) for k, v in PLAIN.items()} | {"inclusion_probability": "", "blind": "false", "model_label": ""}
    assert parse_label(row) == parse_label(PLAIN)


def test_an_iso_instant_is_read_with_its_zone() -> None:
    read = parse_label(PLAIN | {"labelled_at": "2023-11-14T23:13:20+01:00"})
    assert read.labelled_at == NOW


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stream": "banana"}, "stream: expected one of audit, teach, gate, honeypot, founder, got 'banana'"),
        ({"labelled_at": "2023-11-14T22:13:20"}, "without a zone"),
        ({"labelled_at": "yesterday"}, "labelled_at: expected seconds since 1970"),
        ({"labelled_at": float("nan")}, "got nan"),
        ({"labelled_at": True}, "got bool"),
        ({"labelled_at": -1}, "got -1"),
        ({"inclusion_probability": 0}, "above 0 and at most 1, got 0"),
        ({"inclusion_probability": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"blind": "perhaps"}, "blind: expected true or false, got 'perhaps'"),
        ({"event_id": 7}, "event_id: expected text, got int"),
        ({"event_id": "x" * 300}, "1 to 256 printable characters"),
        ({"label": "a\nb"}, "printable"),
        ({"labeller": ""}, "expected a value for labeller"),
        ({"labeler": "ada"}, "did you mean labeller?"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_label(PLAIN | change, where="labels.csv: line 3")
    assert str(caught.value).startswith("labels.csv: line 3: ")
    assert said in str(caught.value)


@given(
    st.dictionaries(st.sampled_from([*PLAIN, "blind", "inclusion_probability", "model_label"]), st.from_type(object))
)
def test_whatever_comes_is_read_or_refused_with_a_data_error(change: dict[str, Any]) -> None:
    with contextlib.suppress(DataError):
        assert parse_label(PLAIN | change).event_id


LABELS = st.lists(
    st.builds(
        Label,
        event_id=st.just("e"),
        label=st.sampled_from(["ok", "dent"]),
        labeller=st.sampled_from(["ada", "ben", "cleo"]),
        labelled_at=st.integers(0, 3).map(float),
        stream=st.sampled_from([Stream.TEACH, Stream.HONEYPOT]),
    ),
    max_size=8,
)


@given(LABELS, st.randoms())
def test_a_standing_does_not_depend_on_the_order(labels: list[Label], random: Any) -> None:
    shuffled = list(labels)
    random.shuffle(shuffled)
    assert standing_of(shuffled, event_id="e") == standing_of(labels, event_id="e")


def test_a_later_label_of_the_same_person_counts() -> None:
    standing = standing_of([label("e", "ok", at=1.0), label("e", "dent", at=2.0)], event_id="e")
    assert standing.label == "dent"
    assert not standing.double_labelled


def test_two_people_who_agree_are_a_double_label() -> None:
    assert standing_of([label("e"), label("e", who="ben")], event_id="e").double_labelled


def test_two_people_who_differ_leave_no_label() -> None:
    standing = standing_of([label("e", "ok"), label("e", "dent", who="ben")], event_id="e")
    assert standing.contested
    assert not standing.teaches(at=NOW)


def test_a_wrong_honeypot_answer_says_nothing_about_the_part() -> None:
    answers = [label("e", "ok"), label("e", "dent", who="ben", stream=Stream.HONEYPOT)]
    assert standing_of(answers, event_id="e").label == "ok"


@pytest.mark.parametrize(
    ("stream", "age_s", "teaches"),
    [
        (Stream.TEACH, 0.0, True),
        (Stream.FOUNDER, 0.0, True),
        (Stream.AUDIT, AUDIT_REST_S - 1, False),
        (Stream.AUDIT, AUDIT_REST_S, True),
        (Stream.GATE, 10 * AUDIT_REST_S, False),
        (Stream.HONEYPOT, 10 * AUDIT_REST_S, False),
    ],
)
def test_streams_teach_when_they_may(stream: Stream, age_s: float, teaches: bool) -> None:
    standing = standing_of([label("e", at=NOW - age_s, stream=stream)], event_id="e")
    assert standing.teaches(at=NOW) is teaches
