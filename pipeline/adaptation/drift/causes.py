"""From the charts that went over their limit to a likely cause, and from a cause to what may be done about it."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.adaptation.drift.episodes import ChartPeak
from pipeline.adaptation.drift.sensor import SensorCheck

WHOLE_STREAM = 0.3  # share of far parts above which it is not a new class but everything
SHIFT_LEADS = 1.5  # location so many times ahead of dispersion and novelty: all parts moved the same way


class Cause(enum.StrEnum):
    """Likely causes; a metric label."""

    SENSOR_FAULT = "sensor_fault"
    LIGHTING_POSITION = "lighting_position"
    BLUR = "blur"
    NEW_CLASS = "new_class"
    CLASS_MIX = "class_mix"
    CALIBRATION = "calibration"
    CONCEPT = "concept"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Response:
    """What an alarm of this cause leads to. No cause ever changes the head by itself."""

    summary: str  # for a person at the line
    automatic: tuple[str, ...]  # done at once
    needs_human: tuple[str, ...]  # waits for somebody
    candidate: Literal["none", "head", "temperature"]  # what may be fitted and sent to the gate
    safe_policy: bool  # a wider review band until it is settled
    blocks_recalibration: bool


RESPONSES: Mapping[Cause, Response] = {
    Cause.SENSOR_FAULT: Response(
        summary="The picture itself is wrong: lens, lamp, focus or a frozen camera.",
        automatic=("stop recalibration", "alert maintenance"),
        needs_human=("clean or repair the camera",),
        candidate="none",
        safe_policy=True,
        blocks_recalibration=True,
    ),
    Cause.LIGHTING_POSITION: Response(
        summary="All parts look shifted: light, exposure, position or a new batch's surface.",
        automatic=("widen the review band", "ask for 64 labels", "fit a challenger"),
        needs_human=("label the parts", "label the gate's parts"),
        candidate="head",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.BLUR: Response(
        summary="Pictures have lost contrast or detail: blur, defocus or compression.",
        automatic=("widen the review band",),
        needs_human=("check the lens first", "if the lens is fine: label parts for a challenger"),
        candidate="head",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.NEW_CLASS: Response(
        summary="Some parts are far from every known class: a new defect or a foreign object.",
        automatic=("send far parts to review", "ask for labels of the farthest parts", "propose a class"),
        needs_human=("name the class",),
        candidate="head",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.CLASS_MIX: Response(
        summary="Known classes come in other shares: another product mix, or quality itself has changed.",
        automatic=("alert quality",),
        needs_human=("decide whether the process has changed",),
        candidate="none",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.CALIBRATION: Response(
        summary="Only the confidence has changed: the probabilities may no longer be calibrated.",
        automatic=("widen the review band", "ask for labels", "refit the temperature and send it to the gate"),
        needs_human=("label the parts",),
        candidate="temperature",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.CONCEPT: Response(
        summary="Labels contradict the line, and the pictures have not changed: a new rule, or labellers disagree.",
        automatic=("stop automatic promotion", "widen the review band"),
        needs_human=("compare the labellers", "label the parts"),
        candidate="none",
        safe_policy=True,
        blocks_recalibration=False,
    ),
    Cause.UNKNOWN: Response(
        summary="The stream has changed in a way the charts cannot name.",
        automatic=("widen the review band", "ask for 64 labels"),
        needs_human=("look at the example pictures", "label the parts"),
        candidate="none",
        safe_policy=True,
        blocks_recalibration=False,
    ),
}


def likely_cause(
    charts: Mapping[str, ChartPeak],
    *,
    far_share: float,
    sensor_odd: Collection[SensorCheck] = (),
    sensor_faults: Collection[SensorCheck] = (),
    soft: bool | None = None,
    audit_alarm: bool = False,
) -> Cause:
    """`charts` and `far_share` as of the DIAGNOSED event; sensor checks as they are then.

    Blur and light both move every part; what tells them apart is whether the last pictures are `soft`, and where none
    was looked at (None) whether confidence fell. Without pictures a light that costs confidence so counts as blur,
    whose response begins with a look at the lens: the safe mistake.
    """
    over = set(charts)
    scatter = max((charts[name].ratio for name in ("dispersion", "novelty") if name in over), default=0.0)
    less_scatter = "dispersion" in over and not charts["dispersion"].rising
    less_sure = "confidence" in over and not charts["confidence"].rising
    ahead = "location" in over and charts["location"].ratio >= SHIFT_LEADS * scatter
    all_moved = ahead or far_share >= WHOLE_STREAM
    verdicts = (  # the first that holds
        (Cause.SENSOR_FAULT, bool(sensor_faults)),
        (Cause.CONCEPT, not over and audit_alarm),
        (Cause.UNKNOWN, not over),
        (Cause.CLASS_MIX, over == {"mix"}),
        (Cause.CALIBRATION, over == {"confidence"}),
        (Cause.BLUR, bool(soft) or SensorCheck.SHARPNESS in sensor_odd or less_scatter),
        (Cause.BLUR, soft is None and all_moved and less_sure),
        (Cause.LIGHTING_POSITION, all_moved),
        (Cause.NEW_CLASS, scatter > 0.0),
        (Cause.UNKNOWN, True),
    )
    return next(cause for cause, holds in verdicts if holds)
