"""A bad head is taken back within few labels, a good one hardly ever; T16 at CI size."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.adaptation.gate.probation import Probation, Verdict
from pipeline.adaptation.gate.values import LabelledPart, LabelStream
from tests.adaptation.gate.cases import COSTS, PLAIN_COSTS, draw, make_camera
from tests.adaptation.gate.trials import Flips, flips_of, probation, worse_head

HOUR_S = 3600.0
OK, DENT = 0, 1


def watch(*, gate_flip_rate: float = 0.05) -> Probation:
    return Probation(COSTS, gate_flip_rate=gate_flip_rate, opened_at=0.0)


def part(number: int, *, stream: LabelStream = LabelStream.GATE, new: int = OK) -> LabelledPart:
    return LabelledPart(str(number), DENT, "ann", stream, champion=DENT, challenger=new)


def test_a_head_three_points_worse_goes_within_forty_labels_in_most_probations() -> None:
    good, bad, _ = worse_head(0, points=3.0)
    needed = []
    for seed in range(12):
        parts = draw(make_camera(0), n=8000, rng=np.random.default_rng([seed, 77]))
        flips = flips_of(good, after=bad, parts=parts)
        report = probation(flips, costs=PLAIN_COSTS, n_parts=5000, gate_flip_rate=flips.rate)
        needed.append(report.labelled if report.verdict is Verdict.ROLL_BACK else 9999)
    assert np.quantile(needed, 0.9, method="higher") <= 40


def test_an_equal_head_is_confirmed_nearly_always() -> None:
    rng, rolled_back = np.random.default_rng(3), 0
    for _ in range(60):
        frame = np.flatnonzero(rng.random(5000) < 0.04)
        swap = rng.random(len(frame)) < 0.5
        flips = Flips(frame, np.where(swap, OK, DENT), np.full(len(frame), OK), np.full(len(frame), DENT), 5000)
        report = probation(flips, costs=PLAIN_COSTS, n_parts=5000, gate_flip_rate=0.04)
        rolled_back += report.verdict is Verdict.ROLL_BACK
    assert rolled_back / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


@pytest.mark.parametrize("stream", [LabelStream.GATE, LabelStream.AUDIT])
def test_escapes_on_labels_of_either_stream_roll_back(stream: LabelStream) -> None:
    one = watch()
    one.drawn(str(i) for i in range(20))
    for i in range(20):
        one.add(part(i, stream=stream))
    report = one.judge(now=0.0)
    assert report.verdict is Verdict.ROLL_BACK
    assert "prove that the new head costs more" in report.reason


def test_a_conviction_stays_though_later_labels_are_kinder() -> None:
    one = watch()
    one.drawn(str(i) for i in range(60))
    for i in range(12):
        one.add(part(i))
    for i in range(12, 60):
        one.add(LabelledPart(str(i), DENT, "ann", LabelStream.GATE, champion=OK, challenger=DENT))
    assert one.judge(now=0.0).verdict is Verdict.ROLL_BACK


def test_teaching_labels_do_not_speak() -> None:
    one = watch()
    one.drawn(["1"])
    assert not one.add(part(1, stream=LabelStream.TEACH))


def test_twice_the_flips_that_the_gate_saw_roll_back() -> None:
    one = watch(gate_flip_rate=0.02)
    one.agreed(950)
    one.passed_over(50)
    report = one.judge(now=0.0)
    assert report.verdict is Verdict.ROLL_BACK
    assert "5.0% of decisions change, the gate saw 2.0%" in report.reason


def test_a_failed_golden_set_at_reload_rolls_back() -> None:
    one = watch()
    one.alarm("golden set: 2 of 40 differ after the reload")
    assert one.judge(now=0.0).verdict is Verdict.ROLL_BACK


def test_confirmed_only_after_the_shift_the_parts_and_the_answers() -> None:
    one = watch()
    one.agreed(5000)
    one.drawn(["1"])
    assert one.judge(now=9 * HOUR_S).verdict is Verdict.WATCH, "the one disagreement is unanswered"
    one.add(LabelledPart("1", DENT, "ann", LabelStream.GATE, champion=OK, challenger=DENT))
    assert one.judge(now=7 * HOUR_S).verdict is Verdict.WATCH
    assert one.judge(now=8 * HOUR_S).verdict is Verdict.CONFIRM
