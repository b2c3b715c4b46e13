"""One trial: a camera, its reference, and how soon which charts call for somebody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.adaptation.drift.causes import Cause, likely_cause
from pipeline.adaptation.drift.charts import Charts
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.effect import AuditChart
from pipeline.adaptation.drift.episodes import EpisodeEvent, Episodes, EventKind
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.adaptation.drift.reference import fit_reference
from tests.adaptation.streams import CI, FULL, NONE, Array, Camera, Drift, Regime, Size

PARTS_PER_ALARM = 1e6
SETTLING_PARTS = 1_500  # in control before a drift begins
LONGEST_PARTS = 12_800
OK = 0
AUDIT_RATE = 0.005  # of accepted parts
AUDIT_BRANCH, N_PROMISE = 99, 40_000  # the stream, and its parts, that a promise is measured on

MOST_RECORDINGS = 3  # times the planned length; a line that wanders still longer is not watched

FULL_RULES = ReferenceRules()
CI_RULES = replace(  # a fifth of every length; the mix chart's memory with them
    FULL_RULES, mix_weight=0.1, advisory_parts=4_000, active_parts=20_000, mix_active_parts=60_000
)
RULES = {CI: CI_RULES, FULL: FULL_RULES}


@dataclass(frozen=True, slots=True)
class Trial:
    """What one drift led to."""

    delay_parts: float  # from its first part to the alarm; infinite where none came
    charts: frozenset[str]  # over their limit within 20 blocks after the alarm
    cause: Cause | None


def context(camera: Camera, *, product: str = "part") -> Context:
    """Where the camera stands."""
    return Context(f"camera-{camera.seed}", "full", product, "encoder", "preprocessing", 1)


def reference(camera: Camera, *, rules: ReferenceRules | None = None, n_parts: int | None = None) -> ReferenceProfile:
    """Fitted on the camera's own stream in control, which goes on after it."""
    x, p, _ = camera.parts(n_parts or camera.size.reference_parts)
    return _fitted(camera, x, p, rules=rules or RULES[camera.size])


def recorded_long_enough(camera: Camera) -> ReferenceProfile:
    """As a plant records: by half the planned length more, until no chart is advisory.

    The planned length is 300 of the stream's true correlation times, and the estimate of that time scatters by a fifth.
    """
    rules, planned = RULES[camera.size], camera.size.reference_parts
    x, p, _ = camera.parts(planned)
    profile = _fitted(camera, x, p, rules=rules)
    while not all(profile.active) and len(x) < MOST_RECORDINGS * planned:
        more_x, more_p, _ = camera.parts(planned // 2)
        x, p = np.concatenate([x, more_x]), np.concatenate([p, more_p])
        profile = _fitted(camera, x, p, rules=rules)
    return profile


def _fitted(camera: Camera, x: Array, p: Array, *, rules: ReferenceRules) -> ReferenceProfile:
    return fit_reference(
        x,
        probabilities=p,
        context=context(camera),
        first_at=0.0,
        last_at=float(len(x)),
        parts_per_alarm=PARTS_PER_ALARM,
        rules=rules,
    )


def world(seed: int, *, size: Size = CI, regime: Regime = "line") -> tuple[Camera, ReferenceProfile]:
    """A camera with its reference."""
    camera = Camera(seed, size, regime)
    return camera, recorded_long_enough(camera)


def events(camera: Camera, profile: ReferenceProfile, *, n: int, drift: Drift = NONE) -> list[EpisodeEvent]:
    """Of n parts, by charts that start with them."""
    charts, episodes = Charts(profile), Episodes(profile.active)
    return _events(charts, episodes, camera, n, drift)


def trial(camera: Camera, profile: ReferenceProfile, *, drift: Drift, n: int = LONGEST_PARTS) -> Trial:
    """In control, then the drift."""
    charts, episodes = Charts(profile), Episodes(profile.active)
    _events(
        charts, episodes, camera, SETTLING_PARTS, NONE
    )  # an alarm here keeps the true one away: it counts as missed
    seen = _events(charts, episodes, camera, n, drift)
    alarms = [event for event in seen if event.kind is EventKind.ALARM]
    named = [event for event in seen if event.kind is EventKind.DIAGNOSED]
    return Trial(
        delay_parts=alarms[0].n_parts - SETTLING_PARTS if alarms else float("inf"),
        charts=frozenset(named[0].charts) if named else frozenset(),
        cause=likely_cause(named[0].charts, far_share=named[0].far_share) if named else None,
    )


def promised_share(camera: Camera) -> float:
    """Escapes among accepted parts that are no news: 0.5 %, or what this camera's head lets through in control."""
    _, p, truth = camera.branch(AUDIT_BRANCH).parts(N_PROMISE)
    return max(0.005, float((truth[p.argmax(axis=1) == OK] != OK).mean()))


def audits_to_alarm(camera: Camera, *, drift: Drift, n: int) -> float:
    """Audited accepted parts until the escape chart alarms; infinite if it does not."""
    chart = AuditChart("escape", target_share=promised_share(camera), tolerance=0.001)
    drawn = np.random.default_rng((camera.seed, 9))
    for _, p, truth in camera.chunks(n, drift=drift):
        accepted = (p.argmax(axis=1) == OK) & (drawn.random(len(p)) < AUDIT_RATE)
        for error in truth[accepted] != OK:
            reading = chart.update(bool(error), at=0.0)
            if reading.alarm:
                return reading.n_labels
    return float("inf")


def quantile(delays: Iterable[float], *, q: float) -> float:
    """The smallest delay that a share q of the trials kept, those without alarm counted as infinite."""
    ordered = sorted(delays)
    return ordered[max(0, int(np.ceil(q * len(ordered))) - 1)]


def _events(charts: Charts, episodes: Episodes, camera: Camera, n: int, drift: Drift) -> list[EpisodeEvent]:
    out: list[EpisodeEvent] = []
    for x, p, _ in camera.chunks(n, drift=drift):
        for reading in charts.update(x, probabilities=p):
            out += episodes.update(reading)
    return out
