"""What a configuration says about deciding, and the same as arrays: one verdict per row of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.decision.costs import CostMatrix
from pipeline.errors import ConfigError
from pipeline.types import Decision, Float32Array

VERDICTS = (Decision.ACCEPT, Decision.REJECT, Decision.REVIEW, Decision.UNKNOWN)  # what the codes stand for
ACCEPT, REJECT, REVIEW, UNKNOWN = range(4)

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """What a configuration says about deciding. Probabilities are calibrated, 0 to 1.

    The label is always the likeliest class. Without costs, thresholds alone decide whether a person looks. With
    costs, the cheapest decision is taken (expected cost, Elkan, 2001), so a label of small doubt may still be
    rejected where escapes are dear; a class with a threshold of its own follows that instead, and `review_below`
    does not apply. `line_ratio` lets the costs see the line's class mix, which label and confidence do not: without
    it a line of mostly good parts is reviewed more than it need be, with it the stated mix had better be true.
    Limits that are given (`accept_at_least`, `set_limits`) only ever add reviews.
    """

    good_classes: frozenset[str]
    thresholds: Mapping[str, float] = field(default_factory=dict)  # per class, below it a person looks
    review_below: float = 0.5  # for classes without a threshold of their own
    unknown_novelty: float = 1.0  # novelty above this is no class we know; infinity turns it off
    costs: CostMatrix | None = None
    line_ratio: Mapping[str, float] = field(default_factory=dict)  # see `probabilities.line_ratio`; 1 where not given
    accept_at_least: float = 0.0  # P(good classes) that an accept needs, from a certificate
    set_limits: Mapping[str, float] = field(default_factory=dict)  # per class, see `guarantee.LabelSets`
    unknown_text_margin: float = -math.inf  # text margin below this is no class we know


class Rule:
    """A policy for the classes of one head. Raises ConfigError when it names others."""

    def __init__(self, policy: DecisionPolicy, *, classes: Sequence[str]) -> None:
        named = set(policy.good_classes) | set(policy.thresholds) | set(policy.set_limits) | set(policy.line_ratio)
        unknown = sorted(named - set(classes))
        if unknown:
            raise ConfigError(
                f"decision: expected classes of the head ({', '.join(classes)}), got {', '.join(unknown)}; "
                "correct good_classes and thresholds, or fit the head with these classes"
            )
        self._costs = None if policy.costs is None else _costs(policy.costs, policy=policy, classes=classes)
        self._policy = policy
        self._good = np.array([name in policy.good_classes for name in classes])
        self._least = np.array([policy.thresholds.get(name, policy.review_below) for name in classes])
        self._own = np.array([name in policy.thresholds for name in classes])
        limits = policy.set_limits
        self._in_set = np.array([limits.get(name, 0.0) for name in classes], np.float32) if limits else None
        self.uses_text_margin = policy.unknown_text_margin > -math.inf

    def good_probability(self, probabilities: Float32Array) -> Float32Array:
        """(n, C) -> (n,)"""
        out: Float32Array = probabilities @ self._good.astype(np.float32)
        return out

    def verdicts(
        self,
        probabilities: Float32Array,
        *,
        novelty: Float32Array | None = None,
        text_margin: Float32Array | None = None,
        label: npt.NDArray[np.intp] | None = None,
    ) -> Codes:
        """(n, C) -> (n,) indices into VERDICTS. `label` (n,) where the likeliest class is known already."""
        rows = np.arange(probabilities.shape[0])
        label = probabilities.argmax(axis=1) if label is None else label
        good, doubtful = self._good[label], probabilities[rows, label] < self._least[label]
        if self._costs is not None:
            expected = probabilities @ self._costs
            cheapest = expected[:, :-1].argmin(axis=1)
            own = self._own[label]
            good = np.where(own, good, self._good[cheapest])
            doubtful = np.where(own, doubtful, expected[rows, cheapest] > expected[:, -1])
        if self._policy.accept_at_least > 0.0:
            doubtful = doubtful | (good & (self.good_probability(probabilities) < self._policy.accept_at_least))
        if self._in_set is not None:
            doubtful = doubtful | ((probabilities >= self._in_set).sum(axis=1) != 1)
        codes = np.where(doubtful, REVIEW, np.where(good, ACCEPT, REJECT)).astype(np.int8)
        if novelty is not None:
            codes[novelty > self._policy.unknown_novelty] = UNKNOWN
        if text_margin is not None:
            codes[text_margin < self._policy.unknown_text_margin] = UNKNOWN
        return codes


def _costs(costs: CostMatrix, *, policy: DecisionPolicy, classes: Sequence[str]) -> Float32Array:
    if costs.classes != tuple(classes) or costs.good_classes != policy.good_classes:
        raise ConfigError(
            f"costs: expected the head's classes ({', '.join(classes)}), good: "
            f"{', '.join(sorted(policy.good_classes))}; got {', '.join(costs.classes)}, good: "
            f"{', '.join(sorted(costs.good_classes))}; build the costs from the same two"
        )
    # what is cheapest does not depend on the normaliser, so weighing rows of the table is weighing probabilities
    ratio = np.array([policy.line_ratio.get(name, 1.0) for name in classes])
    out: Float32Array = (costs.array * ratio[:, None]).astype(np.float32)
    return out
