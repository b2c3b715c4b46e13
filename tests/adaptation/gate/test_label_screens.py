"""Bad batches are held, with reasons a person understands; good ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adaptation.gate.label_screens import ScreenReport, ScreenSettings, binomial_tail, entropy, screen_batch
from pipeline.adaptation.gate.values import Honeypot, LabelBatch
from tests.adaptation.gate.cases import POISONS, Case, make_case, teach
from tests.adaptation.gate.trials import gate_batch


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(0, scenario="light")


def screens_of(report: ScreenReport) -> set[str]:
    return {reason.split(":")[0] for reason in report.reasons}


def test_an_honest_random_batch_passes(case: Case) -> None:
    report = screen_batch(teach(case, how="honest").batch)
    assert report.reasons == ()
    assert (report.honeypot_errors, report.n_honeypots) == (0, 8)


@pytest.mark.parametrize("how", POISONS)
@pytest.mark.parametrize("margin", [False, True])
def test_a_poisoned_teaching_batch_is_held(case: Case, how: str, margin: bool) -> None:
    assert screen_batch(teach(case, how=how, margin=margin).batch).quarantined


@pytest.mark.parametrize("how", POISONS)
def test_a_poisoned_gate_batch_is_held(case: Case, how: str) -> None:
    challenger = teach(case, how=how).head
    assert screen_batch(gate_batch(case, challenger=challenger, how=how)).quarantined


@pytest.mark.parametrize(
    ("how", "screen"),
    [
        ("all ok", "honeypots"),
        ("all ok", "one class"),
        ("all ok", "label entropy"),
        ("all ok", "contradictions"),
        ("class swap", "class swap"),
        ("random", "neighbours"),
        ("one labeller", "odd labeller"),
    ],
)
def test_each_screen_sees_what_it_is_for(case: Case, how: str, screen: str) -> None:
    assert screen in screens_of(screen_batch(teach(case, how=how).batch))


def test_one_wrong_honeypot_is_forgiven_two_are_not(case: Case) -> None:
    batch = teach(case, how="honest").batch
    for n_wrong, held in ((1, False), (2, True)):
        pots = tuple(
            replace(pot, answer=pot.truth ^ 1) if i < n_wrong else pot for i, pot in enumerate(batch.honeypots)
        )
        assert screen_batch(replace(batch, honeypots=pots)).quarantined is held


def test_a_batch_without_its_honeypots_is_held(case: Case) -> None:
    report = screen_batch(replace(teach(case, how="honest").batch, honeypots=()))
    assert report.reasons == ("honeypots: 0 came back of 8 due for 64 labels",)


def test_one_person_for_nearly_all_labels_is_held(case: Case) -> None:
    batch = teach(case, how="honest").batch
    alone = replace(batch, parts=tuple(replace(part, labeller="ann") for part in batch.parts))
    assert screens_of(screen_batch(alone)) == {"one labeller"}


def test_two_people_who_agree_release_a_batch_and_two_who_differ_do_not(case: Case) -> None:
    batch = teach(case, how="honest", margin=True).batch
    alone = tuple(replace(part, labeller="ann", second=part.truth) for part in batch.parts)
    assert not screen_batch(replace(batch, parts=alone)).quarantined
    differ = tuple(replace(part, second=(part.truth + (i % 5 == 0)) % 8) for i, part in enumerate(batch.parts))
    assert screens_of(screen_batch(replace(batch, parts=differ))) == {"second opinion"}


def test_a_batch_that_is_all_good_parts_passes_when_the_live_head_says_so_too(case: Case) -> None:
    batch = teach(case, how="honest").batch
    good = tuple(replace(part, truth=0, champion=0, neighbour=0) for part in batch.parts)
    assert not screen_batch(replace(batch, parts=good)).quarantined


def test_a_handful_of_labels_is_judged_by_honeypots_alone() -> None:
    batch = LabelBatch("tiny", (), (Honeypot("h", 1, 1, "ann"),))
    assert not screen_batch(batch).quarantined


def test_limits_are_settings(case: Case) -> None:
    batch = teach(case, how="all ok").batch
    loose = ScreenSettings(max_honeypot_errors=8, min_parts=1000)
    assert not screen_batch(batch, settings=loose).quarantined


def test_entropy_and_tail_against_hand_counted_values() -> None:
    assert entropy([0, 0, 1, 1]) == pytest.approx(0.693147)
    assert binomial_tail(3, at_least=2, chance=0.5) == pytest.approx(0.5)
