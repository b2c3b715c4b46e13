"""All figures of a report: one head fitted on the rest, judged once on the sealed images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.decision.costs import CostMatrix
from pipeline.decision.held_out import HeldOut
from pipeline.decision.policy import DecisionPolicy, Rule
from pipeline.decision.probabilities import class_mix, softmax
from pipeline.decision.unknown import text_margin
from pipeline.errors import DataError
from pipeline.evaluation.metrics import Accuracy
from pipeline.evaluation.report.acceptance import Split
from pipeline.evaluation.report.comparison import Comparison, compare
from pipeline.evaluation.report.damage import Damage, StatedCosts, by_label, damage_of, stated_costs, without_reviews
from pipeline.evaluation.report.learning import LearningCurve, learning_curve
from pipeline.evaluation.report.mistakes import Mistake, worst_mistakes
from pipeline.evaluation.report.per_class import ClassFigures, ClassNeed, class_needs, per_class
from pipeline.evaluation.report.reliability import Reliability, reliability
from pipeline.evaluation.report.verdict import LEAST, Verdict, verdict
from pipeline.heads.bundles.evidence import Evidence, SupportIndex, TextIndex
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.folds import shots_per_class
from pipeline.heads.mixed_prior import fit_prior
from pipeline.types import Float32Array, Scores

PRECISION = 0.95  # target of a label's threshold
N_DRAWS = 8  # of the learning curve

Progress = Callable[[str, float], None]
PolicyOf = Callable[[HeldOut | None, float], DecisionPolicy]  # out-of-fold rows and temperature


@dataclass(frozen=True, eq=False)
class Given:
    """What a report is made from besides the images; all of it is stated by people."""

    good_classes: frozenset[str]
    policy: PolicyOf  # thresholds and limits may follow from the out-of-fold rows of the images fitted on
    costs: CostMatrix | None = None  # None: no money in the report
    mix: Mapping[str, float] | None = None  # shares of the parts on the line; None: as the sealed images
    kind: str = "auto"
    least: float = LEAST  # accuracy to be shown
    precision: float = PRECISION
    n_draws: int = N_DRAWS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TextPoint:
    """One setting of the text head; None is the default: all texts, equal shares."""

    setting: float | None
    accuracy: float
    gain: float  # to the default, paired
    error: float  # its standard error


@dataclass(frozen=True, slots=True)
class TextCurves:
    """What the number of texts and their weights would change for a head of texts."""

    neighbours: tuple[TextPoint, ...]  # K
    weights: tuple[TextPoint, ...]  # ridge; empty where no image could be held out
    chosen_k: int | None
    chosen_ridge: float | None


@dataclass(frozen=True, slots=True)
class Setup:
    """What was fitted, on what."""

    classes: tuple[str, ...]
    good_classes: tuple[str, ...]
    kind: str  # of the head, as made
    prior: str  # what `before` is: zero_shot | prototype | mixed_prior
    folds: str
    temperature: float
    out_of_fold: Accuracy  # of the images fitted on
    n_fit: int  # source images
    n_sealed: int
    precision: float  # target of the thresholds
    costs: StatedCosts | None
    has_mix: bool
    notes: tuple[str, ...]  # of the fit


@dataclass(frozen=True, eq=False)
class Figures:
    """The report as values; every accuracy, interval and share is a fraction."""

    setup: Setup
    verdict: Verdict
    comparison: Comparison
    damages: tuple[Damage, ...]  # before, after, and after with reviews
    per_class: tuple[ClassFigures, ...]
    reliability: Reliability
    learning: LearningCurve
    needs: tuple[ClassNeed, ...]
    texts: TextCurves | None
    mistakes: tuple[Mistake, ...]


def make_figures(
    support: LabelledFeatures,
    *,
    split: Split,
    pictures: tuple[str, ...],
    given: Given,
    material: Material,
    texts: TextIndex | None = None,
    on_progress: Progress = lambda _what, _share: None,
) -> Figures:
    """Fit on the rest, judge on the sealed rows; `pictures` names the file of each row. Deterministic, blocks.

    Raises DataError or ConfigError where the images, the class mix or the costs do not fit the classes.
    """
    _check(support, pictures=pictures)
    judged = _judge(support, split=split, given=given, material=material, on_progress=on_progress)
    rule = Rule(given.policy(judged.fitted.held_out, judged.fitted.temperature), classes=support.classes)
    curve = learning_curve(
        judged.rest,
        material=material,
        kind=given.kind,
        n_draws=given.n_draws,
        seed=given.seed,
        on_progress=lambda share: on_progress("learning curve", share),
    )
    image, labels = judged.rest.features.image, judged.rest.labels
    index = SupportIndex(image, labels, tuple(pictures[row] for row in split.rest))
    mistakes = worst_mistakes(
        judged.fitted,
        probabilities=judged.probabilities,
        sealed=judged.sealed,
        pictures=tuple(pictures[row] for row in split.sealed),
        evidence=Evidence(support=index, texts=texts),
    )
    curves = _text_curves(judged.rest, material=material, seed=given.seed)
    return _assembled(judged, given=given, rule=rule, curve=curve, curves=curves, mistakes=mistakes)


@dataclass(frozen=True, eq=False)
class _Judged:
    fitted: FittedHead
    rest: LabelledFeatures
    sealed: LabelledFeatures
    before: Float32Array  # (S, C)
    scores: Scores  # S rows
    prior: str

    @property
    def probabilities(self) -> Float32Array:
        return softmax(self.scores.logits / np.float32(self.fitted.temperature))


def _judge(
    support: LabelledFeatures, *, split: Split, given: Given, material: Material, on_progress: Progress
) -> _Judged:
    rest, sealed = support.take(split.rest), support.take(split.sealed)
    fitted = fit_head(
        rest, material=material, kind=given.kind, seed=given.seed, on_progress=lambda s: on_progress("fitting", s)
    )
    prior, _ = fit_prior(
        rest.features.image, labels=rest.labels, groups=rest.groups, classes=rest.classes, text=material.text
    )
    return _Judged(
        fitted=fitted,
        rest=rest,
        sealed=sealed,
        before=prior.score(sealed.features).logits,
        scores=fitted.head.score(sealed.features),
        prior=prior.name,
    )


def _assembled(
    judged: _Judged,
    *,
    given: Given,
    rule: Rule,
    curve: LearningCurve,
    curves: TextCurves | None,
    mistakes: tuple[Mistake, ...],
) -> Figures:
    fitted, rest, sealed, logits = judged.fitted, judged.rest, judged.sealed, judged.scores.logits
    shots = shots_per_class(rest.labels, groups=rest.groups, n_classes=len(rest.classes))
    found = compare(judged.before, after=logits, labels=sealed.labels)
    n_more = int(shots.sum()) if curve.more is None else curve.more.n_more
    return Figures(
        setup=_setup(judged, given=given),
        verdict=verdict(found.after, gain=found.gain, least=given.least),
        comparison=found,
        damages=_damages(judged, given=given, rule=rule),
        per_class=per_class(
            judged.probabilities,
            labels=sealed.labels,
            held_out=fitted.held_out,
            temperature=fitted.temperature,
            shots=shots,
            sealed_shots=shots_per_class(sealed.labels, groups=sealed.groups, n_classes=len(sealed.classes)),
            classes=sealed.classes,
            good=given.good_classes,
            target=given.precision,
        ),
        reliability=reliability(logits, labels=sealed.labels, temperature=fitted.temperature),
        learning=curve,
        needs=class_needs(fitted.held_out, shots=shots, classes=rest.classes, n_more=n_more),
        texts=curves,
        mistakes=mistakes,
    )


def _setup(judged: _Judged, *, given: Given) -> Setup:
    fitted, classes = judged.fitted, judged.sealed.classes
    return Setup(
        classes=classes,
        good_classes=tuple(name for name in classes if name in given.good_classes),
        kind=fitted.head.name,
        prior=judged.prior,
        folds=fitted.report.folds,
        temperature=fitted.temperature,
        out_of_fold=fitted.report.accuracy_head,
        n_fit=int(np.unique(judged.rest.groups).size),
        n_sealed=int(np.unique(judged.sealed.groups).size),
        precision=given.precision,
        costs=None if given.costs is None else stated_costs(given.costs),
        has_mix=given.mix is not None,
        notes=fitted.report.notes,
    )


def _damages(judged: _Judged, *, given: Given, rule: Rule) -> tuple[Damage, ...]:
    classes, labels, probabilities = judged.sealed.classes, judged.sealed.labels, judged.probabilities
    free = CostMatrix.build(classes, good_classes=given.good_classes, escape=0.0, overkill=0.0, mix_up=0.0, review=0.0)
    costs = given.costs or free
    alone = without_reviews(costs)
    mix = class_mix(classes, labels=labels, stated=given.mix)
    scores = judged.scores
    margin = text_margin(scores.zero_shot) if rule.uses_text_margin else None
    reviewed = rule.verdicts(probabilities, novelty=scores.novelty, text_margin=margin)
    ways = (
        ("before", softmax(judged.before), by_label(judged.before, costs=costs), alone),
        ("after", probabilities, by_label(probabilities, costs=costs), alone),
        ("reviewed", probabilities, reviewed, costs),
    )
    return tuple(
        damage_of(way, probabilities=p, codes=codes, labels=labels, costs=prices, mix=mix)
        for way, p, codes, prices in ways
    )


def _text_curves(rest: LabelledFeatures, *, material: Material, seed: int) -> TextCurves | None:
    """From a tuned CODER head on the same images; None without texts."""
    if material.coder is None:
        return None
    choice: dict[str, Any] = fit_head(rest, material=material, kind="coder", tune=True, seed=seed).report.choice or {}
    if "k_curve" not in choice:
        return None

    def points(name: str, setting: str) -> tuple[TextPoint, ...]:
        return tuple(TextPoint(p[setting], p["accuracy"], p["gain"], p["error"]) for p in choice[name])

    return TextCurves(points("k_curve", "k"), points("weight_curve", "ridge"), choice["k"], choice["ridge"])


def _check(support: LabelledFeatures, *, pictures: tuple[str, ...]) -> None:
    if len(pictures) != support.labels.size:
        raise DataError(f"report: expected one file name per row, got {len(pictures)} for {support.labels.size}")
