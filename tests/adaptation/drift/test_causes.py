"""Causes: what the charts say together, and what may follow."""

from __future__ import annotations

import pytest

from pipeline.adaptation.drift.causes import RESPONSES, Cause, likely_cause
from pipeline.adaptation.drift.episodes import ChartPeak
from pipeline.adaptation.drift.sensor import SensorCheck


def over(**ratios: float) -> dict[str, ChartPeak]:
    """A chart below the reference is written with a minus."""
    return {name: ChartPeak(abs(ratio), ratio > 0) for name, ratio in ratios.items()}


@pytest.mark.parametrize(
    ("charts", "far_share", "cause"),
    [
        (over(location=3.0, dispersion=1.3), 0.02, Cause.LIGHTING_POSITION),
        (over(location=10.0, dispersion=10.0, novelty=20.0), 0.5, Cause.LIGHTING_POSITION),
        (over(location=6.0, dispersion=3.0, confidence=-4.0), 0.04, Cause.BLUR),
        (over(dispersion=-2.0, confidence=-1.5), 0.0, Cause.BLUR),
        (over(novelty=4.0, dispersion=2.0, location=1.5), 0.04, Cause.NEW_CLASS),
        (over(mix=1.3), 0.01, Cause.CLASS_MIX),
        (over(confidence=-1.3), 0.01, Cause.CALIBRATION),
        (over(mix=1.3, confidence=-1.2), 0.01, Cause.UNKNOWN),
    ],
)
def test_the_charts_together_name_the_cause(charts: dict[str, ChartPeak], far_share: float, cause: Cause) -> None:
    assert likely_cause(charts, far_share=far_share) is cause


def test_a_sensor_fault_comes_before_everything_the_charts_say() -> None:
    cause = likely_cause(over(novelty=4.0), far_share=0.1, sensor_faults=[SensorCheck.BRIGHTNESS])
    assert cause is Cause.SENSOR_FAULT
    assert RESPONSES[cause].blocks_recalibration


def test_a_picture_less_sharp_than_before_makes_a_shift_blur() -> None:
    assert likely_cause(over(location=3.0), far_share=0.02, sensor_odd=[SensorCheck.SHARPNESS]) is Cause.BLUR


def test_pictures_tell_a_light_that_costs_confidence_from_blur_and_a_weak_blur_from_a_new_class() -> None:
    dim, weak_blur = over(location=6.0, dispersion=3.0, confidence=-4.0), over(novelty=4.0, dispersion=2.0)
    assert likely_cause(dim, far_share=0.04, soft=False) is Cause.LIGHTING_POSITION
    assert likely_cause(dim, far_share=0.04, soft=True) is Cause.BLUR
    assert likely_cause(weak_blur, far_share=0.04, soft=True) is Cause.BLUR
    assert likely_cause(weak_blur, far_share=0.04, soft=False) is Cause.NEW_CLASS


def test_an_audit_alarm_alone_is_a_changed_rule() -> None:
    assert likely_cause({}, far_share=0.01, audit_alarm=True) is Cause.CONCEPT
    assert likely_cause(over(novelty=2.0), far_share=0.05, audit_alarm=True) is Cause.NEW_CLASS


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_response_that_needs_a_person(cause: Cause) -> None:
    response = RESPONSES[cause]
    assert response.needs_human
    assert response.safe_policy
    assert len(response.summary) < 100
