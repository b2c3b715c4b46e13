"""The gate's conditions that need no sequence: what is known of a candidate, checked once per look."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.adaptation.gate.values import CandidateFacts, Check, GoldenResult, StaticChecks


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Limits of the gate; shares are of 1, one point is 0.01."""

    alpha: float = 0.01  # chance of promoting a head that is not better; 0.05 where a human approves
    escape_limit: float = 0.001  # net introduced escapes per frame
    escape_alpha: float = 0.05
    worse_alpha: float = 0.05  # evidence that ends a run early: the challenger costs more
    min_frames: int = 2000
    max_labels: int = 300
    min_answered: float = 0.9  # of the disagreements drawn: who skips the hard ones chooses the sample
    max_hours: float = 24.0
    max_flip_rate: float = 0.25  # share of frames that the challenger decides otherwise
    golden_tolerance: float = 0.02
    golden_min_per_class: int = 30
    max_norm_ratio: float = 3.0
    max_replaced_share: float = 0.25
    max_promotions_per_day: int = 2
    inclusion_floor: float = 1.0  # smallest probability of drawing a disagreement, declared before sampling
    accept_inclusion_floor: float = 1.0  # the same among moves to accept, which G7 is about
    barred_labellers: frozenset[str] = frozenset()  # below 90 % in the last gauge study


def fact_checks(facts: CandidateFacts, *, settings: GateSettings) -> list[Check]:
    """G4, G5, G13 and G14."""
    replaced = max(facts.replaced_share.values(), default=0.0)
    return [
        _static(facts.static, settings=settings),
        _golden(facts.golden, settings=settings),
        Check(
            "G13 promotions",
            facts.promotions_today < settings.max_promotions_per_day,
            f"{facts.promotions_today} promotions today of {settings.max_promotions_per_day} allowed",
        ),
        Check(
            "G14 support",
            facts.founders_unchanged and replaced <= settings.max_replaced_share,
            f"founders {'kept' if facts.founders_unchanged else 'CHANGED'}, {replaced:.0%} of a class replaced at most",
        ),
    ]


def _static(static: StaticChecks | None, *, settings: GateSettings) -> Check:
    if static is None:
        return Check("G4 static", None, "static checks have not run")
    faults = [
        said
        for good, said in (
            (static.finite, "weights are not finite"),
            (static.same_classes, "classes differ from the champion's"),
            (static.norm_ratio <= settings.max_norm_ratio, f"norm grew {static.norm_ratio:.1f} times"),
            (static.latency_ratio <= 1.0, f"takes {static.latency_ratio:.1f} times the allowed time"),
            (static.rebuild_equal, "a rebuild gave other bytes"),
        )
        if not good
    ]
    return Check("G4 static", not faults, "; ".join(faults) or "static checks passed")


def _golden(golden: GoldenResult | None, *, settings: GateSettings) -> Check:
    if golden is None:
        return Check("G5 golden", None, "the golden set has not been scored")
    faults = [f"{golden.new_escapes} new escapes on must-reject parts"] if golden.new_escapes else []
    for name, one in golden.classes.items():
        if one.n < settings.golden_min_per_class:
            faults.append(f"class {name} has {one.n} parts, {settings.golden_min_per_class} are needed")
        elif one.champion_right - one.challenger_right > settings.golden_tolerance * one.n:
            faults.append(f"class {name} falls from {one.champion_right} to {one.challenger_right} of {one.n}")
    return Check("G5 golden", not faults, "; ".join(faults) or "no class falls by more than the tolerance")
