"""The section `decision` and a head's held-out rows to the policy that decides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import structlog

from pipeline.decision import DecisionPolicy
from pipeline.decision.costs import CostMatrix
from pipeline.decision.guarantee import Certificate, certify_mix, fit_label_sets
from pipeline.decision.held_out import HeldOut
from pipeline.decision.plan import Plan, make_plan
from pipeline.decision.policy import Rule
from pipeline.decision.probabilities import class_mix, line_ratio
from pipeline.decision.thresholds import as_policy, fit_thresholds
from pipeline.decision.unknown import UnknownLimit, unknown_limit
from workers.config.decision import CostsConfig, DecisionConfig

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Policy:
    """What decides, and what may be said about it; the rest is None where nothing could be held out."""

    policy: DecisionPolicy
    costs: CostMatrix | None = None
    certificate: Certificate | None = None
    novelty: UnknownLimit | None = None
    text: UnknownLimit | None = None
    plan: Plan | None = None


def decision_policy(
    given: DecisionConfig, *, classes: tuple[str, ...], held_out: HeldOut | None, temperature: float
) -> Policy:
    """Limits and thresholds from the rows no fit has seen; an edited cost matrix needs no refit.

    Raises ConfigError for classes or costs that do not fit the head.
    """
    plain = plain_policy(given)
    costs = None if given.costs is None else cost_matrix(given.costs, classes=classes, good=given.good_classes)
    if held_out is None:
        if given.guarantee is not None or given.unknown is not None:
            log.warning("nothing was held out when the head was fitted: no guarantee, no budgets", classes=len(classes))
        return Policy(replace(plain, costs=costs), costs=costs)
    return _Derived(given, classes=classes, held_out=held_out, temperature=temperature).policy(plain, costs=costs)


def plain_policy(given: DecisionConfig) -> DecisionPolicy:
    """Thresholds as they are written, and nothing that needs held-out rows."""
    return DecisionPolicy(
        good_classes=frozenset(given.good_classes),
        thresholds=dict(given.thresholds),
        review_below=given.review_below,
        unknown_novelty=math.inf if given.unknown_novelty is None else given.unknown_novelty,
    )


def cost_matrix(given: CostsConfig, *, classes: tuple[str, ...], good: tuple[str, ...]) -> CostMatrix:
    """Raises ConfigError where it names a class the head does not know."""
    return CostMatrix.build(
        classes,
        good_classes=good,
        escape=given.escape,
        overkill=given.overkill,
        mix_up=given.mix_up,
        review=given.review,
        pairs=given.pairs,
        currency=given.currency,
    )


class _Derived:
    """One pass over the held-out rows, each step on what the one before decided."""

    def __init__(
        self, given: DecisionConfig, *, classes: tuple[str, ...], held_out: HeldOut, temperature: float
    ) -> None:
        self._given, self._classes, self._rows = given, classes, held_out
        self._p = held_out.probabilities(temperature)
        total = sum(given.line_mix.values())
        stated = {name: share / total for name, share in given.line_mix.items()} or None
        self._mix = class_mix(classes, labels=held_out.labels, stated=stated)

    def policy(self, plain: DecisionPolicy, *, costs: CostMatrix | None) -> Policy:
        policy, novelty, text = self._with_budgets(plain)
        if costs is not None:
            policy = self._with_costs(policy, costs=costs)
        policy, certificate = self._with_guarantee(policy)
        plan = None if costs is None else self._plan(policy, costs=costs)
        return Policy(policy, costs=costs, certificate=certificate, novelty=novelty, text=text, plan=plan)

    def _with_budgets(self, policy: DecisionPolicy) -> tuple[DecisionPolicy, UnknownLimit | None, UnknownLimit | None]:
        given, rows = self._given.unknown, self._rows
        novelty = text = None
        if given is not None and given.novelty_budget is not None and rows.novelty is not None:
            novelty = unknown_limit(rows.novelty, score="novelty", budget=given.novelty_budget)
            policy = replace(policy, unknown_novelty=novelty.limit)
        if given is not None and given.text_budget is not None and rows.text_margin is not None:
            text = unknown_limit(rows.text_margin, score="text_margin", budget=given.text_budget)
            policy = replace(policy, unknown_text_margin=text.limit)
        return policy, novelty, text

    def _with_costs(self, policy: DecisionPolicy, *, costs: CostMatrix) -> DecisionPolicy:
        ratio = None
        if self._given.costs is not None and self._given.costs.use_line_mix:
            ratio = line_ratio(self._classes, labels=self._rows.labels, mix=self._mix)
        fitted = as_policy(fit_thresholds(self._p, labels=self._rows.labels, costs=costs, mix=self._mix, ratio=ratio))
        return replace(policy, costs=costs, line_ratio=ratio or {}, thresholds={**fitted, **policy.thresholds})

    def _with_guarantee(self, policy: DecisionPolicy) -> tuple[DecisionPolicy, Certificate | None]:
        given, rows = self._given.guarantee, self._rows
        if given is None:
            return policy, None
        if given.set_alpha is not None:
            sets = fit_label_sets(self._p, labels=rows.labels, classes=self._classes, alpha=given.set_alpha)
            policy = replace(policy, set_limits=sets.as_policy())
        if given.max_escape is None:
            return policy, None
        rule = Rule(policy, classes=self._classes)
        certificate = certify_mix(
            rule.good_probability(self._p),
            labels=rows.labels,
            good=np.array([name in policy.good_classes for name in self._classes]),
            accepted=self._codes(policy) == 0,
            mix=self._mix,
            max_escape=given.max_escape,
            confidence=given.confidence,
        )
        if certificate.accept_at_least is None:
            log.warning("escapes cannot be certified yet", reason=certificate.statement)
            return policy, certificate
        return replace(policy, accept_at_least=certificate.accept_at_least), certificate

    def _plan(self, policy: DecisionPolicy, *, costs: CostMatrix) -> Plan:
        return make_plan(self._p, codes=self._codes(policy), labels=self._rows.labels, costs=costs, mix=self._mix)

    def _codes(self, policy: DecisionPolicy) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
        rule = Rule(policy, classes=self._classes)
        return rule.verdicts(self._p, novelty=self._rows.novelty, text_margin=self._rows.text_margin)
