"""One person, one alarm; and no claim better than what was seen."""

from __future__ import annotations

import json

import pytest

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.charts import ChartReading
from pipeline.adaptation.drift.episodes import (
    EpisodeEvent,
    EpisodeRules,
    Episodes,
    EventKind,
    FalseAlarmCertificate,
    poisson_upper,
)

ALL = (True,) * len(CHARTS)
GAP_BLOCKS = -(-5_000 // 64)


def reading(block: int, **ratios: float) -> ChartReading:
    return ChartReading(
        block=block,
        n_parts=block * 64,
        statistics=tuple(ratios.get(name, 0.5) for name in CHARTS),
        limits=(1.0,) * len(CHARTS),
        rising=(True, True, True, True, False),
        expected_accuracy=0.97,
        far_share=0.02,
    )


def play(episodes: Episodes, ratios: list[float], *, first: int = 1, chart: str = "location") -> list[EpisodeEvent]:
    out: list[EpisodeEvent] = []
    for block, ratio in enumerate(ratios, start=first):
        out += episodes.update(reading(block, **{chart: ratio}))
    return out


def kinds(events: list[EpisodeEvent]) -> list[EventKind]:
    return [event.kind for event in events]


def test_one_block_over_the_limit_warns_and_clears_after_twenty_below() -> None:
    events = play(Episodes(ALL), [1.2] + [0.5] * 20)
    assert kinds(events) == [EventKind.WARN, EventKind.CLEARED]
    assert events[1].n_parts == 21 * 64


def test_four_of_five_blocks_over_the_limit_are_an_alarm() -> None:
    assert kinds(play(Episodes(ALL), [1.2, 1.2, 0.9, 1.2, 1.2])) == [EventKind.WARN, EventKind.ALARM]
    assert kinds(play(Episodes(ALL), [1.2, 0.9, 1.2, 0.9, 1.2, 1.2])) == [EventKind.WARN]


def test_four_blocks_of_different_charts_are_no_alarm() -> None:
    episodes, out = Episodes(ALL), []
    for block, chart in enumerate(("location", "novelty", "mix", "confidence"), start=1):
        out += play(episodes, [1.2], first=block, chart=chart)
    assert kinds(out) == [EventKind.WARN]


def test_a_long_drift_is_one_alarm_one_diagnosis_and_one_end() -> None:
    events = play(Episodes(ALL), [1.2] * 300 + [0.5] * (GAP_BLOCKS + 1))
    assert kinds(events) == [EventKind.WARN, EventKind.ALARM, EventKind.DIAGNOSED, EventKind.CLOSED]
    assert [event.episode for event in events] == [1, 1, 1, 1]
    assert events[2].n_parts == (4 + 20) * 64


def test_alarms_less_than_5_000_parts_apart_are_one_episode_and_later_ones_another() -> None:
    episodes = Episodes(ALL)
    near = play(episodes, [1.2] * 5 + [0.5] * (GAP_BLOCKS - 2) + [1.2] * 5)
    assert kinds(near).count(EventKind.ALARM) == 1
    far = play(episodes, [0.5] * (GAP_BLOCKS + 1) + [1.2] * 5, first=500)
    assert kinds(far) == [EventKind.CLOSED, EventKind.WARN, EventKind.ALARM]
    assert far[-1].episode == 2


def test_the_diagnosis_names_all_charts_of_the_twenty_blocks_with_their_farthest() -> None:
    episodes = Episodes(ALL)
    play(episodes, [1.2] * 4)
    episodes.update(reading(5, confidence=3.0))
    events = play(episodes, [2.5] + [1.1] * 18, first=6)
    assert {name: peak.ratio for name, peak in events[-1].charts.items()} == {"location": 2.5, "confidence": 3.0}
    assert not events[-1].charts["confidence"].rising


def test_an_advisory_chart_calls_nobody() -> None:
    assert play(Episodes((False, True, True, True, True)), [9.0] * 10) == []


def test_a_snapshot_through_json_goes_on_where_it_was_taken() -> None:
    whole, half = Episodes(ALL), Episodes(ALL)
    ratios = [1.2] * 3
    play(whole, ratios), play(half, ratios)
    restored = Episodes.restored(ALL, snapshot=json.loads(json.dumps(half.snapshot())))
    rest = [1.2] * 30 + [0.5] * 90
    assert play(restored, rest, first=4) == play(whole, rest, first=4)


def test_a_faster_rule_can_be_asked_for() -> None:
    events = play(Episodes(ALL, rules=EpisodeRules(confirm=1)), [1.2])
    assert kinds(events) == [EventKind.WARN, EventKind.ALARM]


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962)])
def test_poisson_bounds_equal_the_table(count: int, bound: float) -> None:
    assert poisson_upper(count) == pytest.approx(bound, abs=1e-3)


def test_nothing_seen_in_n_parts_certifies_three_over_n() -> None:
    certificate = FalseAlarmCertificate(n_parts=300_000, n_episodes=0, design_parts_per_alarm=1e6)
    assert certificate.bound_per_part == pytest.approx(3 / 300_000, rel=0.01)
    assert not certificate.is_proven


def test_no_claim_is_better_than_the_design_however_long_it_was_quiet() -> None:
    certificate = FalseAlarmCertificate(n_parts=10**9, n_episodes=0, design_parts_per_alarm=1e6)
    assert certificate.bound_per_part == 1e-6
    assert certificate.is_proven


def test_without_parts_nothing_is_claimed() -> None:
    assert FalseAlarmCertificate(n_parts=0, n_episodes=0, design_parts_per_alarm=1e6).bound_per_part == float("inf")
