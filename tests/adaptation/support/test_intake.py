"""T23: late, double, unknown and contradicting labels are counted, set aside, and never trained on silently."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.support.intake import LabelIntake, Outcome
from pipeline.adaptation.support.labels import AUDIT_REST_S, Label, Stream
from pipeline.errors import DataError
from tests.adaptation.support.making_support import (
    CLASSES,
    NOW,
    exemplar,
    intake,
    label,
    open_store,
    teach,
)


def test_a_label_is_accepted_and_kept(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert intake(store).take_label(label("e"), at=NOW).outcome is Outcome.ACCEPTED
        assert store.labels.of("e") == (label("e"),)


def test_a_label_that_comes_weeks_late_is_accepted_with_its_own_instant(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        late = label("e", at=NOW - 40 * 86_400)
        assert intake(store).take_label(late, at=NOW).outcome is Outcome.ACCEPTED
        assert store.labels.of("e")[0].labelled_at == late.labelled_at


def test_a_second_delivery_is_a_duplicate_and_no_second_opinion(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store)
        outcomes = [desk.take_label(label("e"), at=NOW).outcome for _ in range(3)]
        assert outcomes == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.DUPLICATE]
        assert not store.labels.standing("e").double_labelled
        assert desk.counts[Outcome.DUPLICATE] == 2
        assert store.labels.count() == 1


def test_a_honeypot_answer_that_comes_twice_counts_once(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        answer = label("known", "dent", stream=Stream.HONEYPOT)
        outcomes = [intake(store).take_label(answer, at=NOW).outcome for _ in range(2)]
        assert outcomes == [Outcome.HONEYPOT, Outcome.DUPLICATE]
        assert store.labels.waiting_to_teach(at=NOW) == ()


def test_somebody_who_says_two_things_at_one_instant_is_contradicted_by_himself(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        both = [label("e", "ok"), label("e", "dent"), label("e", "dent")]
        outcomes = [intake(store).take_label(one, at=NOW).outcome for one in both]
        assert outcomes == [Outcome.ACCEPTED, Outcome.CONTRADICTION, Outcome.DUPLICATE]


def test_another_labeller_who_agrees_makes_it_double_labelled(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store)
        desk.take_label(label("e"), at=NOW)
        assert desk.take_label(label("e", who="ben"), at=NOW).outcome is Outcome.DOUBLE_LABELLED


def test_a_correction_supersedes_and_an_old_delivery_does_not_undo_it(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store)
        first, second = label("e", "ok", at=NOW - 60), label("e", "dent", at=NOW - 30)
        outcomes = [desk.take_label(one, at=NOW).outcome for one in (first, second, first)]
        assert outcomes == [Outcome.ACCEPTED, Outcome.CORRECTED, Outcome.DUPLICATE]
        assert store.labels.standing("e").label == "dent"


def test_a_contradiction_is_set_aside_and_takes_the_exemplar_out(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar("e")])
        taken = intake(store).take_label(label("e", "dent", who="ben"), at=NOW)
        assert (taken.outcome, taken.withdrawn, taken.quarantined) == (Outcome.CONTRADICTION, 1, True)
        assert "ben says dent, ada says ok" in taken.reason
        assert store.labels.quarantined() == {"contradiction": 1}
        assert store.exemplars() == ()
        with pytest.raises(DataError, match="labellers who differ"):
            store.add([exemplar("e")], at=NOW)


def test_a_contradiction_ends_when_one_labeller_corrects_himself(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar("e")])
        desk = intake(store)
        desk.take_label(label("e", "dent", who="ben", at=NOW - 30), at=NOW)
        assert desk.take_label(label("e", "ok", who="ben", at=NOW - 10), at=NOW).outcome is Outcome.CORRECTED
        assert [one.event_id for one in store.labels.waiting_to_teach(at=NOW)] == ["e"]
        assert store.add([exemplar("e")], at=NOW).n_added == 1


def test_a_correction_takes_the_exemplar_of_the_wrong_class_out(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        teach(store, [exemplar("e", "ok")])
        assert intake(store).take_label(label("e", "dent", at=NOW - 1), at=NOW).withdrawn == 1
        store.add([exemplar("e", "dent")], at=NOW)
        assert [(one.exemplar.label, one.removed_why) for one in store.exemplars(living=False)] == [
            ("ok", "label no longer stands"),
            ("dent", None),
        ]


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (label("stranger"), Outcome.UNKNOWN_EVENT),
        (label("e", "blister"), Outcome.UNKNOWN_CLASS),
        (label("e", stream=Stream.AUDIT), Outcome.NOT_BLIND),
        (label("e", stream=Stream.GATE), Outcome.NOT_BLIND),
        (label("e", at=NOW + 3_600), Outcome.FROM_THE_FUTURE),
    ],
)
def test_what_cannot_be_right_is_set_aside_with_its_reason(tmp_path: Path, one: Label, outcome: Outcome) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store, unknown=frozenset({"stranger"}))
        taken = desk.take_label(one, at=NOW)
        assert taken.outcome is outcome
        assert one.event_id in taken.reason
        assert store.labels.quarantined() == {outcome.value: 1}
        assert desk.counts[outcome] == 1
        assert store.labels.count() == 0
        with pytest.raises(DataError, match="expected a standing label"):
            store.add([exemplar(one.event_id, "ok")], at=NOW)


def test_an_unknown_stream_and_a_broken_item_are_told_apart(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store)
        assert desk.take(label("e").to_json() | {"stream": "rumour"}, at=NOW).outcome is Outcome.UNKNOWN_STREAM
        broken = desk.take({"event_id": b"\xff", "x": object()}, at=NOW, where="labels.v1 offset 12")
        assert broken.outcome is Outcome.MALFORMED
        assert broken.reason.startswith("labels.v1 offset 12: ")
        assert store.labels.quarantined() == {"malformed": 1, "unknown_stream": 1}


def test_the_same_bad_item_again_counts_up_and_takes_no_room(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        desk = intake(store, unknown=frozenset({"e"}))
        for _ in range(5):
            desk.take_label(label("e"), at=NOW)
        assert desk.counts[Outcome.UNKNOWN_EVENT] == 5
        assert store.database.execute("SELECT count(*), sum(times) FROM quarantine") == [(1, 5)]


def test_labels_of_a_class_that_is_added_later_are_released(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        intake(store).take_label(label("e", "blister"), at=NOW)
        later = LabelIntake(store, classes=(*CLASSES, "blister"), knows_event=lambda _: True)
        assert [one.outcome for one in later.reconsider(at=NOW + 1)] == [Outcome.ACCEPTED]
        assert store.labels.quarantined() == {}
        assert later.reconsider(at=NOW + 2) == ()


def test_an_audit_label_waits_thirty_days_before_it_teaches(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        intake(store).take_label(label("e", at=NOW, stream=Stream.AUDIT, blind=True), at=NOW)
        assert store.labels.waiting_to_teach(at=NOW) == ()
        with pytest.raises(DataError, match="audit labels after 30 days"):
            store.add([exemplar("e")], at=NOW)
        assert store.add([exemplar("e")], at=NOW + AUDIT_REST_S).n_added == 1


def test_a_gate_label_never_teaches(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        intake(store).take_label(label("e", stream=Stream.GATE, blind=True), at=NOW)
        with pytest.raises(DataError, match="streams: gate"):
            store.add([exemplar("e")], at=NOW + 10 * AUDIT_REST_S)


def test_several_labels_are_one_transaction(tmp_path: Path) -> None:
    def labels() -> list[Label]:
        return [label("e1"), label("e2")]

    with open_store(tmp_path) as store:
        desk = intake(store)

        def broken() -> object:
            yield from labels()
            raise ConnectionError

        with pytest.raises(ConnectionError):
            desk.take_all(broken(), at=NOW)  # type: ignore[arg-type]
        assert store.labels.count() == 0
        assert not desk.counts, "what is not on disk is not counted"


DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["e1", "e2"]), st.sampled_from(CLASSES), st.sampled_from(["ada", "ben"]), st.integers(0, 4)
    ),
    max_size=10,
)


@settings(max_examples=25, deadline=None)
@given(DELIVERIES, st.randoms())
def test_the_order_and_the_number_of_deliveries_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[tuple[str, str, str, int]], random: object
) -> None:
    labels = [label(event, said, who=who, at=NOW - 100 + when) for event, said, who, when in deliveries]
    again = labels * 2
    random.shuffle(again)  # type: ignore[attr-defined]
    standings = []
    for batch in (labels, again):
        with open_store(tmp_path_factory.mktemp("store")) as store:
            intake(store).take_all(batch, at=NOW)
            standings.append([store.labels.standing(event) for event in ("e1", "e2")])
    assert [(s.label, s.contested, s.double_labelled) for s in standings[0]] == [
        (s.label, s.contested, s.double_labelled) for s in standings[1]
    ]
