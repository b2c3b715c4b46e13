"""Abstention with a stated guarantee: which parts may be accepted, and which labels cannot be excluded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision.binomial import at_most, clean_needed
from pipeline.decision.probabilities import Array, Labels
from pipeline.errors import ConfigError, DataError
from pipeline.types import Float32Array

Mask = npt.NDArray[np.bool_]

# P(good) tried, strictest first; fixed before any label is seen, dense where heads are sure
LEVELS = tuple(1.0 - 10.0 ** -(i / 4) for i in range(24, 0, -1)) + tuple(i / 20 for i in range(8, -1, -1))
FOR_GOOD = 0.1  # share of the allowed error spent on how many good parts are accepted


@dataclass(frozen=True, slots=True)
class Certificate:
    """P(escape share among accepted parts <= max_escape) >= confidence, or what is missing for it.

    Holds for the head, policy and class mix it was made with, on parts like the labelled ones: void under drift.
    """

    max_escape: float  # escapes per accepted part
    confidence: float
    accept_at_least: float | None  # P(good) from which a part may be accepted; None: not certifiable
    n_rows: int  # labels the test rests on: defects where the line's mix is given, else accepted parts
    n_escaped: int  # of them, at the threshold
    n_needed: int  # such labels, all clean, from which a certificate is possible

    @property
    def statement(self) -> str:
        """One sentence for a report."""
        goal = f"at most {self.max_escape:.2%} escapes among accepted parts at {self.confidence:.0%} confidence"
        if self.accept_at_least is None:
            needed = f"{self.n_needed} clean labels" if self.n_needed else "more good parts accepted"
            return f"not certifiable: {goal} needs {needed}, got {self.n_rows} of which {self.n_escaped} escaped"
        return f"{goal}: accept from P(good) {self.accept_at_least:.6g} ({self.n_escaped} of {self.n_rows} escaped)"


def certify_sample(
    good_probability: Float32Array, *, is_defect: Mask, accepted: Mask, max_escape: float, confidence: float
) -> Certificate:
    """For rows drawn at random from the line (an audit); `accepted` (M,) is what the policy accepts without this.

    Learn then Test (Angelopoulos et al., 2021), fixed sequence: levels from strict to loose, each tested with the
    binomial tail of the escapes among the accepted, until one fails. Levels that accept too few rows to pass even
    clean are left out; that keeps the guarantee where looser levels do not let through fewer escapes per part.
    """
    _check(good_probability, is_defect=is_defect, accepted=accepted, max_escape=max_escape, confidence=confidence)
    needed = clean_needed(max_escape, confidence=confidence)
    passed: tuple[float | None, int, int] = (None, int(accepted.sum()), int((accepted & is_defect).sum()))
    for level in LEVELS:
        taken = accepted & (good_probability >= level)
        n, k = int(taken.sum()), int((taken & is_defect).sum())
        if n < needed:
            continue
        if at_most(k, n=n, share=max_escape) > 1.0 - confidence:
            break
        passed = (level, n, k)
    return Certificate(max_escape, confidence, *passed, needed)


def certify_mix(
    good_probability: Float32Array,
    *,
    labels: Labels,
    good: Mask,
    accepted: Mask,
    mix: Array,
    max_escape: float,
    confidence: float,
) -> Certificate:
    """For rows labelled class by class, as a support set is, and a stated line mix (C,); `good` (C,) per class.

    The good rows bound from below how many parts are accepted, at all levels at once (Dvoretzky, Kiefer & Wolfowitz;
    Massart, 1990); that turns the limit on the escape share into one on P(accept | defect), and leaves a sequence of
    levels that the defects' labels play no part in. They are then tested in it as in `certify_sample`, by Hoeffding
    and Bentkus (Bates et al., 2021) where the labelled defects are not mixed as on the line. No assumption on levels.
    """
    is_defect = ~good[labels]
    _check(good_probability, is_defect=is_defect, accepted=accepted, max_escape=max_escape, confidence=confidence)
    error, n_defects = 1.0 - confidence, int(is_defect.sum())
    losses = _weights(labels[is_defect], mix=np.where(good, 0.0, mix))
    most = float(losses.max()) if losses.size else 1.0
    rows = _good_rows(good_probability, labels=labels, good=good, accepted=accepted, mix=mix)
    needed = 0
    passed: tuple[float | None, int] = (None, int((accepted & is_defect).sum()))
    for level in LEVELS:
        allowed = rows.allowed(level, error=FOR_GOOD * error, max_escape=max_escape)
        if allowed <= 0.0:
            continue
        clean = clean_needed(min(allowed / most, 1.0), confidence=1.0 - (1.0 - FOR_GOOD) * error)
        needed = min(needed or clean, clean)
        if n_defects < clean:
            continue
        taken = accepted[is_defect] & (good_probability[is_defect] >= level)
        if p_value(losses * taken / most, limit=allowed / most) > (1.0 - FOR_GOOD) * error:
            break
        passed = (level, int(taken.sum()))
    level_passed, n_escaped = passed
    return Certificate(max_escape, confidence, level_passed, n_defects, n_escaped, needed)


def p_value(losses: Array, *, limit: float) -> float:
    """Of mean loss > limit, for independent losses (n,) in [0, 1]: binomial tail for 0 and 1, else Hoeffding-Bentkus.

    min(exp(-n kl(mean, limit)), e P(Bin(n, limit) <= ceil(n mean))), Bates et al. (2021), eq. 8-10.
    """
    n, total = losses.size, float(losses.sum())
    if limit >= 1.0 or not n:
        return float(limit < 1.0)
    if np.isin(losses, (0.0, 1.0)).all():
        return at_most(round(total), n=n, share=limit)
    mean = total / n
    if mean >= limit:
        return 1.0
    kl = (mean * math.log(mean / limit) if mean else 0.0) + (1.0 - mean) * math.log((1.0 - mean) / (1.0 - limit))
    return min(math.exp(-n * kl), math.e * at_most(math.ceil(total - 1e-9), n=n, share=limit), 1.0)


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Every label that cannot be excluded at this confidence; exactly one left means that no person need look."""

    classes: tuple[str, ...]
    alpha: float  # the true class is left out at most this often
    limits: Float32Array  # (C,), a class belongs to the set from this probability on
    groups: tuple[str, ...]  # per class: own | pooled (with the other rare ones) | none (too few rows, always in)

    def contains(self, probabilities: Float32Array) -> Mask:
        """(n, C) -> (n, C)"""
        out: Mask = probabilities >= self.limits
        return out

    def as_policy(self) -> Mapping[str, float]:
        """What DecisionPolicy takes."""
        return dict(zip(self.classes, self.limits.tolist(), strict=True))


def fit_label_sets(probabilities: Float32Array, *, labels: Labels, classes: tuple[str, ...], alpha: float) -> LabelSets:
    """Split conformal sets, P(truth in set | its group) >= 1 - alpha, from out-of-fold probabilities (M, C).

    Score 1 - p(truth) (Sadinle, Lei & Wasserman, 2019), quantile ceil((n + 1)(1 - alpha)) / n. Classes with
    1/alpha - 1 rows and more are a group of their own (Vovk, 2012), so the promise holds for whatever mix of them;
    the rest form one group. Out-of-fold rows stand in for a split: exact where the head is as good as its fold models.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"label sets: expected alpha between 0 and 1, got {alpha}")
    if probabilities.shape != (labels.size, len(classes)):
        raise DataError(f"label sets: expected ({labels.size}, {len(classes)}), got {probabilities.shape}")
    of_truth = probabilities[np.arange(labels.size), labels]
    counts = np.bincount(labels, minlength=len(classes))
    rare = counts < math.ceil(1.0 / alpha - 1.0 - 1e-9)
    pooled = _limit(of_truth[rare[labels]], alpha=alpha)
    limits = [pooled if rare[c] else _limit(of_truth[labels == c], alpha=alpha) for c in range(len(classes))]
    groups = tuple("own" if not few else "pooled" if pooled > 0.0 else "none" for few in rare)
    return LabelSets(classes=classes, alpha=alpha, limits=np.array(limits, np.float32), groups=groups)


def _limit(of_truth: Float32Array, *, alpha: float) -> float:
    """The floor((n + 1) alpha)-th smallest; 0 where there is none."""
    rank = math.floor((of_truth.size + 1) * alpha + 1e-9)
    return float(np.sort(of_truth)[rank - 1]) if rank else 0.0


def _check(
    good_probability: Float32Array, *, is_defect: Mask, accepted: Mask, max_escape: float, confidence: float
) -> None:
    if not (0.0 < max_escape < 1.0 and 0.0 < confidence < 1.0):
        raise ConfigError(
            f"guarantee: expected max_escape and confidence between 0 and 1, got {max_escape} and {confidence}"
        )
    if not good_probability.size == is_defect.size == accepted.size:
        raise DataError(
            f"guarantee: expected as many probabilities as labels and verdicts, got {good_probability.size}, "
            f"{is_defect.size}, {accepted.size}"
        )


def _weights(labels: Labels, *, mix: Array) -> Array:
    """(n,) so that the mean of weight x loss is the loss at the mix, among the classes that were labelled."""
    counts = np.bincount(labels, minlength=mix.size)
    seen = np.where(counts > 0, mix, 0.0)
    if seen.sum() <= 0.0:
        return np.ones(labels.size)
    each = np.divide(seen / seen.sum() * labels.size, counts, out=np.zeros(mix.size), where=counts > 0)
    out: Array = each[labels]
    return out


@dataclass(frozen=True, eq=False)
class _Accepted:
    """What the good rows say: the loss that each level leaves to the defects."""

    scores: tuple[Float32Array, ...]  # per good class, P(good) of its rows; below every level where not accepted
    shares: tuple[float, ...]  # of the line
    unseen: float  # share of the line that is of defects without a labelled row
    seen: float  # and with

    def allowed(self, level: float, *, error: float, max_escape: float) -> float:
        """Largest P(accept | labelled defect) with which the escape share stays at max_escape, for sure enough."""
        least = 0.0
        for scores, share in zip(self.scores, self.shares, strict=True):
            slack = math.sqrt(math.log(len(self.scores) / error) / (2.0 * scores.size))
            least += share * max(float((scores >= level).mean()) - slack, 0.0)
        spare = max_escape / (1.0 - max_escape) * least - self.unseen
        return spare / self.seen if self.seen > 0.0 else math.copysign(math.inf, spare)


def _good_rows(good_probability: Float32Array, *, labels: Labels, good: Mask, accepted: Mask, mix: Array) -> _Accepted:
    scores = np.where(accepted, good_probability, -1.0).astype(np.float32)
    counts = np.bincount(labels, minlength=mix.size)
    of_good = [c for c in range(mix.size) if good[c] and counts[c] and mix[c] > 0.0]
    return _Accepted(
        scores=tuple(scores[labels == c] for c in of_good),
        shares=tuple(float(mix[c]) for c in of_good),
        unseen=float(mix[~good & (counts == 0)].sum()),
        seen=float(mix[~good & (counts > 0)].sum()),
    )
