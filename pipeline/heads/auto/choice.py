"""Which heads go into the blend and how heavily, and whether the unlabelled pool is admitted."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.heads.auto.stacking import Gain, HeldOut, blend_of, paired_gain, paired_likelihood_gain, stacked_weights
from pipeline.heads.report import accuracy
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

FEW = 4  # shots per class from which weights are searched; below, labelled-only heads count alike
ERRORS_TO_WIN = 1.0  # standard errors a challenger must gain
ERRORS_TO_WIN_FEW = 2.0  # at two and three shots, where folds flatter what needs few labels
EQUAL_AT_FEW = ("kernel_ridge", "gda", "probe")  # at two and three shots; a probe only where there are texts


@dataclass(frozen=True, slots=True)
class Trial:
    """One head that was tried."""

    name: str
    accuracy: float | None  # out of fold; None where nothing could be held out
    gain: float | None  # over the incumbent it was held against
    standard_error: float | None
    verdict: str


def choose_weights(held_out: HeldOut, *, shots: float) -> tuple[dict[str, float], tuple[Trial, ...]]:
    """Weights of standardised heads that sum to one, and what was tried.

    Every head is held against kernel ridge for the report; the pool against the blend without it.
    """
    without = tuple(name for name in held_out.logits if name != "pool")
    trials = tuple(_against_incumbent(held_out, name=name) for name in without)
    if shots >= FEW:
        weights = stacked_weights(held_out, names=without)
    else:
        equal = [name for name in EQUAL_AT_FEW if name in without]
        weights = dict.fromkeys(equal, 1.0 / len(equal))
    if "pool" not in held_out.logits:
        return weights, trials
    with_pool = stacked_weights(held_out, names=(*without, "pool"))
    logits, before = blend_of(held_out, weights=with_pool), blend_of(held_out, weights=weights)
    gain = paired_gain(logits, incumbent=before, labels=held_out.labels)
    likelihood = paired_likelihood_gain(logits, incumbent=before, labels=held_out.labels)
    n_errors = ERRORS_TO_WIN if shots >= FEW else ERRORS_TO_WIN_FEW
    if gain.exceeds(n_errors=n_errors):
        weights, verdict = with_pool, "admitted"
    elif shots >= FEW and gain.value >= 0.0 and likelihood.exceeds(n_errors=ERRORS_TO_WIN_FEW):
        weights, verdict = with_pool, "admitted by its likelihood"
    elif shots >= FEW and not gain.falls_short(n_errors=ERRORS_TO_WIN):
        weights, verdict = _mean(weights, other=with_pool), "near-equal: averaged in"
    else:
        verdict = "out: no gain beyond the error of measuring it"
    return weights, (*trials, trial("pool", logits=logits, labels=held_out.labels, gain=gain, verdict=verdict))


def trial(name: str, *, logits: Float32Array, labels: Labels, gain: Gain, verdict: str) -> Trial:
    """A line of the report."""
    return Trial(name, accuracy(logits, labels=labels).value, gain.value, gain.standard_error, verdict)


def _against_incumbent(held_out: HeldOut, *, name: str) -> Trial:
    logits, incumbent = held_out.logits[name], held_out.logits["kernel_ridge"]
    gain = paired_gain(logits, incumbent=incumbent, labels=held_out.labels)
    if name == "kernel_ridge":
        verdict = "incumbent"
    else:
        verdict = "better" if gain.exceeds(n_errors=ERRORS_TO_WIN) else "no better beyond one standard error"
    return trial(name, logits=logits, labels=held_out.labels, gain=gain, verdict=verdict)


def _mean(weights: dict[str, float], *, other: dict[str, float]) -> dict[str, float]:
    names = {**weights, **other}
    return {name: 0.5 * (weights.get(name, 0.0) + other.get(name, 0.0)) for name in names}
