"""Whole runs of the gate and of a probation on synthetic lines; the tests and the table share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.eprocess import MixtureEProcess
from pipeline.adaptation.gate.gate import Gate
from pipeline.adaptation.gate.probation import Probation, ProbationReport, ProbationSettings, Verdict
from pipeline.adaptation.gate.values import (
    CandidateFacts,
    GateDecision,
    GateReport,
    GoldenClass,
    GoldenResult,
    LabelBatch,
    LabelledPart,
    LabelStream,
    StaticChecks,
)
from tests.adaptation.gate.cases import (
    COSTS,
    LABELLERS,
    Case,
    Parts,
    RidgeHead,
    batch_of,
    draw,
    figures,
    fit,
    honeypots,
    make_camera,
    poison,
    support,
)

GOOD_FACTS = CandidateFacts(
    static=StaticChecks(finite=True, same_classes=True, norm_ratio=1.0, latency_ratio=0.5, rebuild_equal=True),
    golden=GoldenResult({"ok": GoldenClass(50, 49, 49)}),
    class_cycle_seen=True,
)
PILOT_FRAMES = 2000
PLANNED_FRAMES = 4000.0
LABELS = 300
NEED_E_20 = np.log(20.0)


@dataclass(frozen=True)
class Trial:
    """One run of the gate, and what an accuracy gate would have done with the same labels."""

    report: GateReport
    accuracy_gate_promotes: bool
    champion_cost: float
    challenger_cost: float
    champion_escape: float  # of defects
    challenger_escape: float

    @property
    def promoted(self) -> bool:
        return self.report.decision is GateDecision.PROMOTE


def judge(
    case: Case, *, challenger: RidgeHead, alpha: float = 0.05, n_frames: int = 12000, escapes: bool = True
) -> Trial:
    """Honest gate labels, a look after every one; frames come in random order."""
    rng = case.rng(900)
    pilot, frames, fresh = (
        draw(case.camera, n=n, rng=rng, scenario=case.scenario) for n in (PILOT_FRAMES, n_frames, 20000)
    )
    inclusion = plan(case.champion.decide(pilot.x), after=challenger.decide(pilot.x))
    settings = GateSettings(
        alpha=alpha, inclusion_floor=inclusion, max_flip_rate=1.0, escape_limit=0.001 if escapes else 0.999
    )
    gate = Gate(COSTS, run="r", champion=1, challenger=2, opened_at=0.0, settings=settings, screening=False)
    report, by_accuracy = feed(
        gate, before=case.champion.decide(frames.x), after=challenger.decide(frames.x), truth=frames.truth,
        inclusion=inclusion, rng=rng,
    )  # fmt: skip
    was, would_be = figures(case.champion, parts=fresh), figures(challenger, parts=fresh)
    return Trial(report, by_accuracy, was.cost, would_be.cost, was.escape, would_be.escape)


def plan(before: np.ndarray, *, after: np.ndarray) -> float:
    """Inclusion probability of disagreements other than moves to accept, so that the budget lasts some 4,000 frames."""
    flips = before != after
    to_accept = flips & (after == 0)
    room = LABELS - PLANNED_FRAMES * to_accept.mean()
    return float(np.clip(room / max(PLANNED_FRAMES * (flips & ~to_accept).mean(), 1e-9), 0.1, 1.0))


def feed(
    gate: Gate, *, before: np.ndarray, after: np.ndarray, truth: np.ndarray, inclusion: float, rng: np.random.Generator
) -> tuple[GateReport, bool]:
    """Frame after frame until the gate decides; whether the accuracy evidence ever reached 20."""
    by_accuracy, still = False, 0
    drawn = rng.random(len(truth)) < np.where(after == 0, 1.0, inclusion)
    report = gate.decide(GOOD_FACTS, now=0.0)
    for i in np.flatnonzero(before != after):
        gate.agreed(int(i) - still)
        still = int(i) + 1
        if not drawn[i]:
            gate.passed_over(1)
            continue
        gate.drawn([str(i)])
        part = LabelledPart(
            event_id=str(i), truth=int(truth[i]), labeller=LABELLERS[i % 3], stream=LabelStream.GATE,
            champion=int(before[i]), challenger=int(after[i]), inclusion=1.0 if after[i] == 0 else inclusion,
        )  # fmt: skip
        gate.add(LabelBatch(str(i), (part,)))
        report = gate.decide(GOOD_FACTS, now=0.0)
        by_accuracy |= report.log_e_acc >= NEED_E_20
        if report.decision is not GateDecision.CONTINUE and report.labelled >= 60:
            return report, by_accuracy
    gate.agreed(len(truth) - still)
    return gate.decide(GOOD_FACTS, now=0.0), by_accuracy


def gate_batch(case: Case, *, challenger: RidgeHead, how: str, n: int = 64) -> LabelBatch:
    """One batch of gate labels as a careless or hostile desk returns it, honeypots included."""
    rng = case.rng(950)
    frames = draw(case.camera, n=20000, rng=rng, scenario=case.scenario)
    before, after = case.champion.decide(frames.x), challenger.decide(frames.x)
    rows = np.flatnonzero(before != after)[:n]
    labeller = rng.integers(0, len(LABELLERS), size=len(rows) + 8)
    given = poison(frames.truth[rows], how=how, rng=rng, labeller=labeller[: len(rows)])
    batch = batch_of(case, x=frames.x[rows], given=given, labeller=labeller[: len(rows)])
    parts = tuple(
        replace(part, stream=LabelStream.GATE, challenger=int(after[row]), event_id=str(row))
        for part, row in zip(batch.parts, rows, strict=True)
    )
    return LabelBatch("gate", parts, honeypots(how=how, rng=rng, labeller=labeller[len(rows) :]))


@dataclass(frozen=True)
class Flips:
    """Disagreements of two heads on one stream, in stream order; (m,) each."""

    frame: np.ndarray
    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray
    n_frames: int

    @property
    def rate(self) -> float:
        return len(self.frame) / self.n_frames


def flips_of(before: RidgeHead, *, after: RidgeHead, parts: Parts) -> Flips:
    old, new = before.decide(parts.x), after.decide(parts.x)
    rows = np.flatnonzero(old != new)
    return Flips(rows, parts.truth[rows], old[rows], new[rows], len(parts.truth))


def crossing(gains: np.ndarray, *, alpha: float) -> int | None:
    """After how many labels the evidence reaches 1/alpha, looking after each."""
    process, needed = MixtureEProcess(), -np.log(alpha)
    for n, gain in enumerate(gains.tolist(), start=1):
        process = process.bet(gain)
        if process.log_e >= needed:
            return n
    return None


def gains_of(flips: Flips, *, costs: CostMatrix) -> np.ndarray:
    scaled = costs.values / costs.values.max()
    return scaled[flips.truth, flips.before] - scaled[flips.truth, flips.after]


def two_heads(seed: int, *, n: int, run_length: int = 1) -> Flips:
    """Two heads from different shots of one camera."""
    camera, rng = make_camera(seed), np.random.default_rng([seed, 3])
    one, other = (fit(shots.x, shots.truth) for shots in (support(camera, rng=rng), support(camera, rng=rng)))
    return flips_of(one, after=other, parts=draw(camera, n=n, rng=rng, run_length=run_length))


def worse_head(seed: int, *, points: float) -> tuple[RidgeHead, RidgeHead, Parts]:
    """A head and the same with noise in its weights, so much that accuracy falls by `points` of 100."""
    camera, rng = make_camera(seed), np.random.default_rng([seed, 4])
    shots = support(camera, rng=rng)
    good, parts = fit(shots.x, shots.truth), draw(camera, n=20000, rng=rng)
    noise, aim = rng.normal(size=good.weights.shape), figures(good, parts=parts).accuracy - points / 100
    low, high = 0.0, 2.0
    for _ in range(25):
        middle = 0.5 * (low + high)
        bad = RidgeHead(good.weights + middle * noise)
        low, high = (middle, high) if figures(bad, parts=parts).accuracy > aim else (low, middle)
    return good, bad, parts


def probation(flips: Flips, *, costs: CostMatrix, n_parts: int, gate_flip_rate: float) -> ProbationReport:
    """Every disagreement is labelled, a look after each, until rolled back or the parts are through."""
    settings = ProbationSettings(min_parts=n_parts)
    watch = Probation(costs, gate_flip_rate=gate_flip_rate, opened_at=0.0, settings=settings)
    still = 0
    for i in range(len(flips.frame)):
        watch.agreed(int(flips.frame[i]) - still)
        still = int(flips.frame[i]) + 1
        watch.drawn([str(i)])
        part = LabelledPart(
            event_id=str(i), truth=int(flips.truth[i]), labeller="ann", stream=LabelStream.GATE,
            champion=int(flips.before[i]), challenger=int(flips.after[i]),
        )  # fmt: skip
        watch.add(part)
        report = watch.judge(now=9 * 3600.0)
        if report.verdict is Verdict.ROLL_BACK:
            return report
    watch.agreed(flips.n_frames - still)
    return watch.judge(now=9 * 3600.0)
