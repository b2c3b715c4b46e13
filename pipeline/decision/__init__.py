"""Calibrated probabilities to label, review or unknown: costs, thresholds, guarantees; padding ends here."""

from pipeline.decision.costs import CostMatrix
from pipeline.decision.decider import Decider, HeadIdentity
from pipeline.decision.guarantee import Certificate, LabelSets, certify_mix, certify_sample, fit_label_sets
from pipeline.decision.held_out import HeldOut
from pipeline.decision.plan import Estimate, Plan, make_plan
from pipeline.decision.policy import VERDICTS, DecisionPolicy, Rule
from pipeline.decision.probabilities import class_mix, line_ratio, softmax
from pipeline.decision.thresholds import ClassThreshold, as_policy, bayes_thresholds, fit_thresholds
from pipeline.decision.unknown import UnknownLimit, text_margin, unknown_limit

__all__ = [
    "VERDICTS",
    "Certificate",
    "ClassThreshold",
    "CostMatrix",
    "Decider",
    "DecisionPolicy",
    "Estimate",
    "HeadIdentity",
    "HeldOut",
    "LabelSets",
    "Plan",
    "Rule",
    "UnknownLimit",
    "as_policy",
    "bayes_thresholds",
    "certify_mix",
    "certify_sample",
    "class_mix",
    "fit_label_sets",
    "fit_thresholds",
    "line_ratio",
    "make_plan",
    "softmax",
    "text_margin",
    "unknown_limit",
]
