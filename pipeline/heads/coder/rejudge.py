"""A CODER head whose texts were edited is judged again by the labelled rows of its bundle; no image is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.heads.calibration import fit_temperature
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.fitted import FittedHead, Judged, LabelledFeatures, held_out_of, take_rows
from pipeline.heads.folds import Folds, make_folds
from pipeline.heads.kinds import ONE_SHOT_TEMPERATURE, TEMPERATURE_SPREAD
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.novelty import fit_novelty
from pipeline.heads.report import FitReport, fit_report
from pipeline.heads.simple.gda import spread
from pipeline.heads.simple.zero_shot import ZeroShotHead

AnyCoder = CoderHead | CoderAdapterHead


def rejudged(
    head: AnyCoder,
    *,
    support: LabelledFeatures,
    text: ZeroShotHead,
    temperature: float,
    report: Mapping[str, Any],
    note: str,
) -> FittedHead:
    """Temperature, held-out rows and report of an edited head; `report` and `temperature` are of the head it was.

    An adapter is judged fold by fold, without the fold's own images, at the alpha and beta it has. A head whose text
    weights were tuned on these rows cannot be judged by them: it keeps its temperature and has nothing held out.
    """
    choice, seed = report.get("choice"), int(report.get("seed", 0))
    n_classes = len(support.classes)
    folds = make_folds(support.labels, groups=support.groups, n_classes=n_classes, seed=seed)
    judged = _judged(head, support=support, text=text, folds=folds, tuned="k" in (choice or {}))
    labels = support.labels[judged.rows]
    if not labels.size:
        judged = replace(judged, temperature=temperature)
    novelty = fit_novelty(support.features.image, labels=support.labels, n_classes=n_classes, folds=folds)
    threshold = None if novelty.model is None else novelty.model.threshold
    told = replace(
        _told(judged, support=support, folds=folds),
        novelty_threshold=threshold,
        notes=(*report.get("notes", ()), note),
        choice=choice,
    )
    held_out = held_out_of(judged, labels=labels, distances=novelty.distances[judged.rows], threshold=threshold)
    return FittedHead(head=head, temperature=judged.temperature, report=told, held_out=held_out)


def _told(judged: Judged, *, support: LabelledFeatures, folds: Folds) -> FitReport:
    found = fit_report(
        judged.before,
        after=judged.after,
        judged=support.labels[judged.rows],
        labels=support.labels,
        groups=support.groups,
        classes=support.classes,
    )
    return replace(found, folds=folds.kind, seed=folds.seed, prior=judged.prior, temperature=judged.temperature)


def _judged(head: AnyCoder, *, support: LabelledFeatures, text: ZeroShotHead, folds: Folds, tuned: bool) -> Judged:
    features, labels = support.features, support.labels
    if isinstance(head, CoderHead) and not tuned:
        after = head.score(features).logits.astype(np.float32)
        before = text.score(features).logits
        return Judged(head, fit_temperature(after, labels=labels), np.arange(labels.size), before, after, "zero_shot")
    prior, before = fit_prior(features.image, labels=labels, groups=support.groups, classes=support.classes, text=text)
    rows = np.zeros(0, np.int64)
    logits = np.zeros((0, len(support.classes)), np.float32)
    if isinstance(head, CoderAdapterHead) and not tuned and folds.n_folds:
        rows = np.concatenate([folds.held_out(fold) for fold in range(folds.n_folds)])
        logits = np.concatenate(
            [_without_own(head, support=support, folds=folds, fold=f) for f in range(folds.n_folds)]
        )
    temperature = 1.0
    if rows.size:
        start = ONE_SHOT_TEMPERATURE * spread(logits)
        temperature = fit_temperature(logits, labels=labels[rows], start=start, prior_spread=TEMPERATURE_SPREAD)
    return Judged(head, temperature, rows, before[rows], logits, prior.name)


def _without_own(head: CoderAdapterHead, *, support: LabelledFeatures, folds: Folds, fold: int) -> np.ndarray:
    """(n, C) logits of one fold's images, from the support images of the others."""
    kept = folds.kept(fold)
    others = replace(head, key_image=head.key_image[kept], key_class=head.key_class[kept])
    logits: np.ndarray = others.score(take_rows(support.features, rows=folds.held_out(fold))).logits.astype(np.float32)
    return logits
