"""Fits a head on labelled features: every choice out of fold, then once more on everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.auto.policy import fit_auto
from pipeline.heads.deconfusion.fit import FUSIONS, fit_deconfusion
from pipeline.heads.deconfusion.shared_fit import fit_deconfusion_shared
from pipeline.heads.fitted import FittedHead, Judged, LabelledFeatures, Material, held_out_of
from pipeline.heads.folds import Folds, make_folds
from pipeline.heads.kinds import KINDS as CLOSED_FORM
from pipeline.heads.kinds import fit_closed_form
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.novelty import NoveltyFit, fit_novelty
from pipeline.heads.report import fit_report

DECONFUSION = {"deconfusion": fit_deconfusion, "deconfusion_shared": fit_deconfusion_shared}
KINDS = ("auto", *DECONFUSION, *CLOSED_FORM)
NO_MATERIAL = Material()


def fit_head(
    support: LabelledFeatures,
    *,
    material: Material = NO_MATERIAL,
    kind: str = "deconfusion",
    fusion: str = "beta",
    tune: bool = False,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _: None,
) -> FittedHead:
    """Fit and judge a head; deterministic for a seed, blocks, calls `on_progress` with a share from 0 to 1.

    `tune` searches K, text weights and the weight of the one-to-one texts of CODER heads out of fold. Raises DataError
    when the support set cannot be fitted.
    """
    check_support(support, material=material, kind=kind, fusion=fusion)
    classes = support.classes
    folds = make_folds(support.labels, groups=support.groups, n_classes=len(classes), seed=seed)
    novelty = fit_novelty(support.features.image, labels=support.labels, n_classes=len(classes), folds=folds)
    if kind in DECONFUSION:
        fit = DECONFUSION[kind]
        judged = fit(support, text=material.text, folds=folds, fusion=fusion, on_progress=on_progress)
    elif kind == "auto":
        judged = _auto(support, material=material, seed=seed)
    else:
        judged = fit_closed_form(kind, support=support, material=material, folds=folds, tune=tune, seed=seed)
    on_progress(1.0)
    return _reported(judged, support=support, folds=folds, novelty=novelty)


def _auto(support: LabelledFeatures, *, material: Material, seed: int) -> Judged:
    image, labels, groups = support.features.image, support.labels, support.groups
    fitted = fit_auto(
        support.features,
        labels=labels,
        groups=groups,
        classes=support.classes,
        text=material.text,
        pool=material.pool,
        seed=seed,
    )
    prior, before = fit_prior(image, labels=labels, groups=groups, classes=support.classes, text=material.text)
    rows = fitted.held_out_rows
    return Judged(
        head=fitted.head,
        temperature=fitted.temperature,
        rows=rows,
        before=before[rows],
        after=fitted.held_out_logits,
        prior=prior.name,
        fusion=fitted.report.weights,
        notes=(fitted.report.why,),
        choice=fitted.report.to_json(),
    )


def _reported(judged: Judged, *, support: LabelledFeatures, folds: Folds, novelty: NoveltyFit) -> FittedHead:
    threshold = None if novelty.model is None else novelty.model.threshold
    labels = support.labels[judged.rows]
    report = fit_report(
        judged.before,
        after=judged.after,
        judged=labels,
        labels=support.labels,
        groups=support.groups,
        classes=support.classes,
    )
    report = replace(
        report,
        folds=folds.kind,
        seed=folds.seed,
        prior=judged.prior,
        temperature=judged.temperature,
        fusion=judged.fusion,
        novelty_threshold=threshold,
        notes=judged.notes,
        choice=judged.choice,
    )
    return FittedHead(
        head=replace(judged.head, novelty=novelty.model),
        temperature=judged.temperature,
        report=report,
        held_out=held_out_of(judged, labels=labels, distances=novelty.distances[judged.rows], threshold=threshold),
    )


def check_support(support: LabelledFeatures, *, material: Material, kind: str, fusion: str) -> None:
    """Raises DataError with what was expected and got."""
    image, n = support.features.image, support.labels.size
    if kind not in KINDS or fusion not in FUSIONS:
        raise DataError(f"expected a head of {', '.join(KINDS)} with fusion {', '.join(FUSIONS)}, got {kind}, {fusion}")
    if kind == "zero_shot" and material.text is None:
        raise DataError("zero_shot head: expected class texts, got none; give head.texts or another kind of head")
    if len(support.classes) < 2:
        raise DataError(f"expected at least two classes, got {len(support.classes)}: {', '.join(support.classes)}")
    if image.ndim != 2 or any(x.shape[0] != n for x in (image, *support.features.levels)):
        raise DataError(f"expected one row of features per label, got {image.shape} for {n} labels")
    bad = [np.flatnonzero(~np.isfinite(x).all(axis=1)) for x in (image, *support.features.levels)]
    if any(rows.size for rows in bad):
        row = int(np.concatenate(bad).min())
        first = support.classes[int(support.labels[row])]
        raise DataError(f"expected finite features, got NaN or infinity in row {row} (class {first})")
    missing = [c for i, c in enumerate(support.classes) if not (support.labels == i).any()]
    if missing:
        raise DataError(f"expected at least one image of every class, got none of: {', '.join(missing)}")
    _check_material(material, classes=support.classes, width=image.shape[1])


def _check_material(material: Material, *, classes: tuple[str, ...], width: int) -> None:
    text, pool = material.text, material.pool
    if text is not None and text.classes != classes:
        raise DataError(f"texts: expected the classes {classes}, got {text.classes}")
    if text is not None and text.prototypes.shape[1] != width:
        raise DataError(f"expected texts and images of one width, got {text.prototypes.shape[1]} and {width}")
    if pool is not None and (pool.ndim != 2 or pool.shape[1] != width):
        raise DataError(f"unlabelled pool: expected rows of {width} values, got shape {pool.shape}")
    if pool is not None and not np.isfinite(pool).all():
        bad = int(np.flatnonzero(~np.isfinite(pool).all(axis=1))[0])
        raise DataError(f"unlabelled pool: expected finite features, got NaN or infinity in row {bad}")
