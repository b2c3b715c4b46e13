"""`head: auto`: the policy by shots per class; a challenger must win out of fold, and nothing may do harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.heads.auto.blend import BlendHead, Part
from pipeline.heads.auto.choice import ERRORS_TO_WIN, Trial, choose_weights, trial
from pipeline.heads.auto.experts import Expert, Task, experts
from pipeline.heads.auto.pool import PoolReport, report
from pipeline.heads.auto.pool_choice import MIN_COVERAGE, choose_pool, trust
from pipeline.heads.auto.stacking import HeldOut, blend_of, held_out_logits, paired_gain, selection_folds, spread
from pipeline.heads.calibration import fit_temperature, temperature_of_confidence
from pipeline.heads.folds import shots_per_class
from pipeline.heads.mixed_prior import has_text
from pipeline.heads.simple.affine import centred_rows
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

TEMPERATURE_SPREAD = 1.5  # of log T: a blend's scale is arbitrary before its first temperature
LEAST_WEIGHT = 0.01  # a head below it would cost time and move nothing
ONE_SHOT_TEMPERATURE = 0.35  # of standardised logits where nothing can be held out; best was .12 to .44 on eight sets


@dataclass(frozen=True, slots=True)
class AutoReport:
    """What was tried, what it gained out of fold, and why the shipped head is the one it is."""

    shots: float  # median per class
    folds: str
    seed: int
    n_judged: int
    incumbent: str  # what ships when nothing beats it
    chosen: str  # zero_shot | blend
    weights: dict[str, float]  # of the standardised heads in the blend
    trials: tuple[Trial, ...]
    pool: PoolReport | None
    temperature: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AutoFit:
    """The head to ship, its temperature, and the report; out-of-fold logits for whoever decides with them."""

    head: BlendHead | ZeroShotHead
    temperature: float
    report: AutoReport
    held_out_logits: Float32Array  # (M, C) of the shipped head, before temperature; M 0 where nothing was held out
    held_out_rows: Labels  # (M,), which labelled row each of them is


def fit_auto(
    features: Features,
    *,
    labels: Labels,
    groups: Labels,
    classes: tuple[str, ...],
    text: ZeroShotHead | None = None,
    pool: Float32Array | None = None,
    seed: int = 0,
) -> AutoFit:
    """Fit every head the policy allows, judge them out of fold, blend the near-equal ones; deterministic for a seed.

    `features` N rows; `groups` numbers their source images; `pool` (M, D) unlabelled unit rows in the order of time.
    One shot: kernel ridge (with texts the probe) and, where the pool covers the classes, the pool head. Two and three:
    equal weights, the pool admitted above two standard errors. From four on: stacked weights, the pool admitted above
    one standard error and averaged in when near-equal. With texts the text head ships unless beaten by one standard
    error. The rows are taken as checked by `fit_head`.
    """
    text = None if text is None or not has_text(text).any() else text
    shots = float(np.median(shots_per_class(labels, groups=groups, n_classes=len(classes))))
    covering, pool_report = _covering_pool(features.image, labels=labels, classes=classes, pool=pool, text=text)
    task = Task(features=features, labels=labels, groups=groups, classes=classes, text=text, pool=covering)
    fits = experts(task, shots=shots)
    folds = selection_folds(labels, groups=groups, n_classes=len(classes), seed=seed)
    if folds.n_folds:
        held_out = held_out_logits(fits, features=features, labels=labels, folds=folds)
        fitted = _judged(task, fits=fits, held_out=held_out, shots=shots)
    else:
        fitted = _one_shot(task, fits=fits, coverage=0.0 if pool_report is None else pool_report.coverage)
    about = replace(fitted.report, shots=shots, folds=folds.kind, seed=seed, pool=pool_report)
    return replace(fitted, report=about)


def _covering_pool(
    image: Float32Array,
    *,
    labels: Labels,
    classes: tuple[str, ...],
    pool: Float32Array | None,
    text: ZeroShotHead | None,
) -> tuple[Float32Array | None, PoolReport | None]:
    """The rows to use, or None where there is no pool or it does not cover the classes."""
    if pool is None or not pool.shape[0]:
        return None, None
    choice = choose_pool(image, labels=labels, n_classes=len(classes), pool=pool, text=text)
    used = choice.coverage > MIN_COVERAGE
    return pool[choice.rows] if used else None, report(choice, n_offered=pool.shape[0], used=used)


def _one_shot(task: Task, *, fits: dict[str, Expert], coverage: float) -> AutoFit:
    """Nothing can be held out: a fixed rule, the pool weighed by how well it covers the classes.

    Texts saw no label, so the labelled rows can judge them: the pool has a say in what they leave wrong.
    """
    base = "kernel_ridge" if task.text is None else "probe"
    rows = task.features if task.pool is None else Features(image=task.pool)
    share = 0.0 if task.pool is None else trust(coverage) * (1.0 - _right_by_texts(task))
    weights = {name: w for name, w in ((base, 1.0 - share), ("pool", share)) if w > 0.0}
    everything = np.arange(task.labels.size)
    parts = {name: fits[name](everything) for name in weights}
    spreads = {name: spread(part.score(rows).logits) for name, part in parts.items()}
    head = _blend(parts, weights=weights, spreads=spreads)
    why = "one shot per class: " + (f"{base} by rule" if share == 0.0 else "the pool by its coverage")
    temperature = ONE_SHOT_TEMPERATURE
    if task.text is not None:
        temperature = 1.0 / sum(w * spreads[name] for name, w in weights.items())  # as the texts', whose own is one
    elif share > 0.0:
        temperature = _agreeing_temperature(head, other=fits[base](everything), rows=rows)
    return AutoFit(
        head=head,
        temperature=temperature,
        report=_report(weights, incumbent=base, chosen="blend", temperature=temperature, why=why),
        held_out_logits=np.zeros((0, len(task.classes)), np.float32),
        held_out_rows=np.zeros(0, np.int64),
    )


def _agreeing_temperature(head: BlendHead, *, other: Part, rows: Features) -> float:
    """T at which the head is as sure of unlabelled rows as it agrees on them with the head from labels alone.

    Nothing can be held out, so their agreement stands for accuracy: about right where classes are clusters, too sure by
    up to .4 on weak features (RESEARCH.md).
    """
    logits = head.score(rows).logits
    agreed = float((logits.argmax(axis=1) == other.score(rows).logits.argmax(axis=1)).mean())
    return temperature_of_confidence(logits, confidence=agreed)


def _right_by_texts(task: Task) -> float:
    """Share of the labelled rows that the texts call right; 0 without texts."""
    if task.text is None:
        return 0.0
    return float((task.text.score(task.features).logits.argmax(axis=1) == task.labels).mean())


def _judged(task: Task, *, fits: dict[str, Expert], held_out: HeldOut, shots: float) -> AutoFit:
    """Weights from the rows held out; the text head where they do not beat it."""
    weights, trials = choose_weights(held_out, shots=shots)
    logits = blend_of(held_out, weights=weights)
    chosen, incumbent, why = "blend", "kernel_ridge", "the blend of near-equal heads, weighed out of fold"
    if task.text is not None and has_text(task.text).all():
        texts = task.text.score(Features(image=task.features.image[held_out.rows])).logits
        gain = paired_gain(logits, incumbent=texts, labels=held_out.labels)
        wins, incumbent = gain.exceeds(n_errors=ERRORS_TO_WIN), "zero_shot"
        trials += (
            trial("blend", logits=logits, labels=held_out.labels, gain=gain, verdict="ships" if wins else "out"),
        )
        why = f"{why}; beats the text head by {gain.value:.3f} (standard error {gain.standard_error:.3f})"
        if not wins:
            chosen, weights, logits = "zero_shot", {}, centred_rows(texts)
            why = f"nothing beats the text head by one standard error ({gain.value:+.3f}, {gain.standard_error:.3f})"
    names = [name for name, weight in weights.items() if weight >= LEAST_WEIGHT]
    parts = {name: fits[name](np.arange(task.labels.size)) for name in names}
    blend = _blend(parts, weights=weights, spreads=held_out.spreads) if parts else None
    temperature = fit_temperature(logits, labels=held_out.labels, prior_spread=TEMPERATURE_SPREAD)
    about = _report(weights, incumbent=incumbent, chosen=chosen, temperature=temperature, why=why)
    about = replace(about, trials=trials, n_judged=int(held_out.labels.size))
    head = blend or _text_of(task)
    return AutoFit(head, temperature, about, logits, held_out.rows)


def _blend(parts: dict[str, Part], *, weights: dict[str, float], spreads: Mapping[str, float]) -> BlendHead:
    scaled = tuple(weights[name] / spreads[name] for name in parts)
    return BlendHead(parts=tuple(parts.values()), weights=scaled)


def _text_of(task: Task) -> ZeroShotHead:
    assert task.text is not None  # a blend is empty only where the text head ships
    return task.text


def _report(weights: dict[str, float], *, incumbent: str, chosen: str, temperature: float, why: str) -> AutoReport:
    return AutoReport(
        shots=1.0,
        folds="none",
        seed=0,
        n_judged=0,
        incumbent=incumbent,
        chosen=chosen,
        weights=weights,
        trials=(),
        pool=None,
        temperature=temperature,
        why=why,
    )
