"""T1 to T9: quiet where nothing happens, quick where something does; a fifth of the published size."""

from __future__ import annotations

import pytest

from pipeline.adaptation.drift.causes import RESPONSES, Cause, likely_cause
from pipeline.adaptation.drift.charts import Charts
from pipeline.adaptation.drift.episodes import ChartPeak, EventKind
from pipeline.adaptation.drift.monitor import DriftMonitor
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from tests.adaptation.streams import CI, NONE, Camera, Drift
from tests.adaptation.trials import audits_to_alarm, context, events, quantile, reference, trial, world

World = tuple[Camera, ReferenceProfile]

N_NULL = 200_000
LOOK = Drift(look=0.65)


def n_alarms(camera: Camera, profile: ReferenceProfile, *, n: int) -> int:
    return sum(event.kind is EventKind.ALARM for event in events(camera, profile, n=n))


def test_a_line_in_control_gives_at_most_two_false_episodes_in_1_6_million_parts(lines: list[World]) -> None:
    assert sum(n_alarms(camera.branch(1), profile, n=N_NULL) for camera, profile in lines) <= 2


def test_independent_parts_in_control_give_no_false_episode() -> None:
    worlds = (world(seed, regime="iid") for seed in range(8))
    assert sum(n_alarms(camera.branch(1), profile, n=N_NULL) for camera, profile in worlds) == 0


def test_charts_with_a_reference_of_20_000_parts_stay_advisory_whatever_happens() -> None:
    camera = Camera(20, CI, "line")
    profile = reference(camera, rules=ReferenceRules(), n_parts=20_000)
    assert profile.active == (False,) * 5
    assert events(camera.branch(1), profile, n=20_000) == []
    assert events(camera.branch(2), profile, n=5_000, drift=Drift(light=0.12, blur=0.5)) == []
    x, p, _ = camera.branch(3).parts(2_000, drift=Drift(light=0.12))
    readings = Charts(profile).update(x, probabilities=p)
    assert max(readings[-1].ratios) > 1.0, "they are drawn all the same"


@pytest.mark.parametrize(
    ("drift", "within"),
    [
        pytest.param(Drift(light=0.12), 400, id="strong light"),
        pytest.param(Drift(light=0.03), 2_000, id="weak light"),
        pytest.param(Drift(blur=0.5), 600, id="strong blur"),
        pytest.param(Drift(blur=0.3), 800, id="weak blur"),
        pytest.param(Drift(new_share=0.05), 5_000, id="new class of 5 %"),
        pytest.param(Drift(new_share=0.02), 9_000, id="new class of 2 %"),
        pytest.param(Drift(light=0.12, ramp_parts=20_000), 7_000, id="ramp"),
    ],
)
def test_every_camera_alarms_in_time(lines: list[World], drift: Drift, within: int) -> None:
    trials = [trial(camera.branch(3), profile, drift=drift) for camera, profile in lines]
    assert quantile((one.delay_parts for one in trials), q=0.95) <= within


def test_a_new_class_is_among_the_charts_as_novelty_in_seven_of_eight_cameras(lines: list[World]) -> None:
    trials = [trial(camera.branch(4), profile, drift=Drift(new_share=0.05)) for camera, profile in lines]
    assert sum("novelty" in one.charts for one in trials) >= 7


def test_another_mix_of_classes_never_leads_to_another_head() -> None:
    cause = likely_cause({"mix": ChartPeak(1.5, True)}, far_share=0.01)
    assert cause is Cause.CLASS_MIX
    assert RESPONSES[cause].candidate == "none"


def test_a_share_that_triples_moves_no_chart_but_the_mix(lines: list[World]) -> None:
    for camera, profile in lines[:4]:
        seen = events(camera.branch(5), profile, n=12_800, drift=Drift(more_share=0.15))
        assert all(set(event.charts) <= {"mix"} for event in seen)


def test_a_defect_that_changes_its_look_is_found_within_150_audited_parts(lines: list[World]) -> None:
    days = [camera.branch(day) for camera, _ in lines for day in range(10, 14)]
    counts = [audits_to_alarm(camera, drift=LOOK, n=60_000) for camera in days]
    assert quantile(counts, q=0.9) <= 150


def test_the_escape_chart_is_quiet_while_the_promise_holds(lines: list[World]) -> None:
    counts = [audits_to_alarm(camera.branch(7), drift=NONE, n=N_NULL) for camera, _ in lines]
    assert min(counts) == float("inf")


def test_a_changeover_picks_the_reference_of_the_product_and_is_no_alarm(lines: list[World]) -> None:
    (first, one), (second, other) = lines[0], lines[1]
    monitor = DriftMonitor([one, other])
    cameras = {one.context: first.branch(8), other.context: second.branch(8)}
    seen = []
    for _ in range(6):
        for where, camera in cameras.items():
            x, p, _ = camera.parts(3_000)
            seen += monitor.update(where, embeddings=x, probabilities=p).events
    assert seen == []
    assert [monitor.charts(c).reference.sha256 for c in cameras] == [one.sha256, other.sha256]


def test_parts_of_another_product_alarm_where_they_are_taken_for_the_same(lines: list[World]) -> None:
    monitor = DriftMonitor([lines[0][1]])
    x, p, _ = lines[1][0].branch(9).parts(2_000)
    seen = monitor.update(lines[0][1].context, embeddings=x, probabilities=p).events
    assert EventKind.ALARM in [event.kind for event in seen]


def test_parts_of_a_context_without_reference_pass_unseen_and_it_shows(line: World) -> None:
    monitor = DriftMonitor([line[1]])
    unknown = context(line[0], product="another")
    x, p, _ = line[0].branch(9).parts(500)
    assert not monitor.watches(unknown)
    assert monitor.update(unknown, embeddings=x, probabilities=p).readings == ()
