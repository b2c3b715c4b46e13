"""Each condition of the gate can stop a head; only all of them together let it through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.gate import Gate
from pipeline.adaptation.gate.values import (
    CandidateFacts,
    GateDecision,
    GateReport,
    GoldenClass,
    GoldenResult,
    Honeypot,
    LabelBatch,
    LabelledPart,
    LabelStream,
)
from tests.adaptation.gate.cases import COSTS
from tests.adaptation.gate.trials import GOOD_FACTS

OK, DENT, OTHER = 0, 1, 2


def part(number: int, *, truth: int = DENT, champion: int = OK, challenger: int = DENT) -> LabelledPart:
    return LabelledPart(
        event_id=str(number), truth=truth, labeller=("ann", "ben", "cem")[number % 3], stream=LabelStream.GATE,
        champion=champion, challenger=challenger,
    )  # fmt: skip


def opened(settings: GateSettings | None = None, *, screening: bool = False) -> Gate:
    limits = settings or GateSettings()
    return Gate(COSTS, run="r1", champion=3, challenger=4, opened_at=0.0, settings=limits, screening=screening)


def fed(parts: list[LabelledPart], *, agreed: int = 5000, settings: GateSettings | None = None) -> Gate:
    gate = opened(settings)
    gate.agreed(agreed)
    gate.drawn(one.event_id for one in parts)
    gate.add(LabelBatch("b1", tuple(parts)))
    return gate


def won(n: int = 40) -> list[LabelledPart]:
    """Parts on which the challenger stops an escape."""
    return [part(i) for i in range(n)]


def check(report: GateReport, *, name: str) -> bool | None:
    return next(one.passed for one in report.checks if one.name.startswith(name))


def test_a_head_that_stops_escapes_is_promoted_and_the_report_says_why() -> None:
    report = fed(won()).decide(GOOD_FACTS, now=60.0)
    assert report.decision is GateDecision.PROMOTE
    assert "40 labels among 40 disagreements in 5040 frames" in report.reason
    assert (report.escape_introduced, report.escape_removed) == (0, 40)
    assert json.loads(report.to_json())["decision"] == "promote"


FACTS: Mapping[str, CandidateFacts] = {
    "G4": replace(GOOD_FACTS, static=replace(GOOD_FACTS.static, finite=False)),  # type: ignore[type-var]
    "G5": replace(GOOD_FACTS, golden=GoldenResult({"ok": GoldenClass(50, 50, 48)})),
    "G13": replace(GOOD_FACTS, promotions_today=2),
    "G14": replace(GOOD_FACTS, replaced_share={"ok": 0.26}),
}


@pytest.mark.parametrize("name", FACTS)
def test_one_bad_fact_rejects_a_head_that_has_all_the_evidence(name: str) -> None:
    report = fed(won()).decide(FACTS[name], now=60.0)
    assert report.decision is GateDecision.REJECT
    assert report.reason.startswith(name)


@pytest.mark.parametrize(
    "golden",
    [
        GoldenResult({"ok": GoldenClass(50, 49, 49)}, new_escapes=1),
        GoldenResult({"ok": GoldenClass(29, 29, 29)}),
    ],
)
def test_a_golden_set_that_shows_an_escape_or_is_too_small_rejects(golden: GoldenResult) -> None:
    report = fed(won()).decide(replace(GOOD_FACTS, golden=golden), now=60.0)
    assert report.decision is GateDecision.REJECT


def test_a_golden_fall_within_two_points_is_no_reason() -> None:
    golden = GoldenResult({"ok": GoldenClass(100, 100, 98)})
    assert fed(won()).decide(replace(GOOD_FACTS, golden=golden), now=60.0).decision is GateDecision.PROMOTE


@pytest.mark.parametrize(
    "facts",
    [
        replace(GOOD_FACTS, static=None),
        replace(GOOD_FACTS, golden=None),
        replace(GOOD_FACTS, class_cycle_seen=False),
    ],
)
def test_what_is_not_known_yet_keeps_the_gate_waiting(facts: CandidateFacts) -> None:
    assert fed(won()).decide(facts, now=60.0).decision is GateDecision.CONTINUE


def test_a_few_labels_are_not_enough() -> None:
    report = fed(won(5)).decide(GOOD_FACTS, now=60.0)
    assert report.decision is GateDecision.CONTINUE
    assert "G6 cost: log evidence" in report.reason


def test_several_candidates_need_more_evidence() -> None:
    gate = fed(won(12))
    assert check(gate.decide(GOOD_FACTS, now=1.0), name="G6") is True
    assert check(gate.decide(replace(GOOD_FACTS, n_candidates=50), now=1.0), name="G6") is None


def test_a_head_proven_worse_is_rejected_at_once() -> None:
    report = fed([part(i, truth=DENT, champion=DENT, challenger=OK) for i in range(20)]).decide(GOOD_FACTS, now=1.0)
    assert report.decision is GateDecision.REJECT
    assert "proof that it costs more" in report.reason


def test_cheaper_with_too_many_escapes_is_not_promoted() -> None:
    """Saves much overkill and lets four defects pass: cheaper, and refused by the bound on escapes alone."""
    costs_little = [part(i, truth=OK, champion=DENT, challenger=OK) for i in range(250)]
    escapes = [part(300 + i, truth=DENT, champion=DENT, challenger=OK) for i in range(4)]
    report = fed([*costs_little, *escapes], settings=GateSettings(alpha=0.05)).decide(GOOD_FACTS, now=1.0)
    assert check(report, name="G6") is True
    assert check(report, name="G7") is None
    assert report.decision is GateDecision.CONTINUE


def test_too_few_frames_keep_it_waiting_and_too_many_flips_reject() -> None:
    assert check(fed(won(), agreed=100).decide(GOOD_FACTS, now=1.0), name="G9") is None
    many = fed(won(299), agreed=500, settings=GateSettings(min_frames=700)).decide(GOOD_FACTS, now=1.0)
    assert many.decision is GateDecision.REJECT
    assert many.reason.startswith("flip rate")


def test_the_label_budget_and_the_day_come_to_an_end() -> None:
    even = [part(i, truth=(DENT, OTHER)[i % 2], champion=DENT, challenger=OTHER) for i in range(300)]
    spent = fed(even).decide(GOOD_FACTS, now=1.0)
    assert (spent.decision, spent.reason[:25]) == (GateDecision.REJECT, "the budget of 300 labels ")
    late = fed(won(5)).decide(GOOD_FACTS, now=25 * 3600.0)
    assert (late.decision, late.reason[:17]) == (GateDecision.REJECT, "24 hours are over")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stream": LabelStream.TEACH}, "stream teach"),
        ({"stream": LabelStream.AUDIT}, "stream audit"),
        ({"blind": False}, "labeller saw the model's answer"),
        ({"labeller": "barred"}, "labeller barred"),
        ({"challenger": OK}, "no disagreement"),
        ({"inclusion": 0.4}, "inclusion probability outside what was declared"),
    ],
)
def test_labels_that_are_no_random_evidence_are_counted_and_do_not_speak(change: dict[str, object], why: str) -> None:
    labels = [replace(one, **change) for one in won()]  # type: ignore[arg-type]
    report = fed(labels, settings=GateSettings(barred_labellers=frozenset({"barred"}))).decide(GOOD_FACTS, now=1.0)
    assert report.ignored == {why: 40}
    assert (report.labelled, report.log_e_cost) == (0, pytest.approx(0.0))


def test_the_same_event_twice_and_an_event_never_drawn_do_not_speak() -> None:
    gate = fed([part(1)])
    gate.add(LabelBatch("b2", (part(1), part(2))))
    assert gate.decide(GOOD_FACTS, now=1.0).ignored == {"duplicate": 1, "never drawn": 1}


def test_a_batch_sent_twice_counts_once() -> None:
    gate = fed(won(10))
    gate.add(LabelBatch("b1", tuple(won(10))))
    report = gate.decide(GOOD_FACTS, now=1.0)
    assert (report.labelled, report.ignored) == (10, {"batch sent twice": 10})


def test_unanswered_questions_silence_the_frames_around_them() -> None:
    """Of 40 drawn, 20 are back: agreements count half, or silence would pass for innocence; nothing is promoted."""
    saved_overkill = [part(i, truth=OK, champion=DENT, challenger=OK) for i in range(20)]
    gate = fed(saved_overkill)
    whole = gate.decide(GOOD_FACTS, now=1.0)
    gate.drawn(str(i) for i in range(100, 120))
    half = gate.decide(GOOD_FACTS, now=1.0)
    assert check(whole, name="G7") is True
    assert half.escape_bound == pytest.approx(2 * whole.escape_bound, rel=0.02)
    assert check(half, name="G7") is None
    assert check(half, name="answers") is None
    assert half.decision is GateDecision.CONTINUE


def test_of_two_labels_the_one_worse_for_the_challenger_counts() -> None:
    one = fed([replace(part(1), second=OK)]).decide(GOOD_FACTS, now=1.0)
    assert one.cost_gain == pytest.approx(-0.1)
    assert one.escape_removed == 0


def test_a_quarantined_batch_holds_the_gate_until_it_comes_back_labelled_twice() -> None:
    gate = opened(screening=True)
    gate.agreed(5000)
    gate.drawn(str(i) for i in range(40))
    assert gate.add(LabelBatch("b1", tuple(won()))).quarantined, "no honeypots came back"
    held = gate.decide(GOOD_FACTS, now=1.0)
    assert (held.labelled, held.decision) == (0, GateDecision.CONTINUE)
    assert "honeypots: 0 came back of 5" in held.reason
    honest = tuple(replace(one, second=one.truth) for one in won())
    pots = tuple(Honeypot(f"h{i}", i % 8, i % 8, "ann") for i in range(5))
    assert not gate.add(LabelBatch("b1", honest, pots)).quarantined
    assert gate.decide(GOOD_FACTS, now=1.0).decision is GateDecision.PROMOTE


def test_the_same_labels_give_the_same_report_again() -> None:
    assert fed(won()).decide(GOOD_FACTS, now=1.0) == fed(won()).decide(GOOD_FACTS, now=1.0)
    assert fed(won(39)).decide(GOOD_FACTS, now=1.0).labels_sha != fed(won()).decide(GOOD_FACTS, now=1.0).labels_sha
