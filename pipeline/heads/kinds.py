"""Every kind of head but `auto` and the deconfusion head as one call on labelled rows, judged by folds of that call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.auto.pool import fit_pool_head
from pipeline.heads.calibration import fit_temperature
from pipeline.heads.coder.coding import class_sums
from pipeline.heads.coder.gram import text_gram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.heads.coder.neighbours import choose_neighbours, neighbour_curve
from pipeline.heads.coder.rerank import choose_gamma, pair_evidence
from pipeline.heads.coder.search import choose_adapter
from pipeline.heads.coder.weights import tune_text_weights
from pipeline.heads.fitted import AnyHead, Judged, LabelledFeatures, Material, take_rows
from pipeline.heads.folds import Folds
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.simple.gda import fit_gda, spread
from pipeline.heads.simple.kernel_ridge import fit_kernel_ridge
from pipeline.heads.simple.linear import fit_linear
from pipeline.heads.simple.prior_probe import fit_prior_probe
from pipeline.heads.simple.prototype import fit_prototypes
from pipeline.heads.simple.tip_adapter import fit_tip_adapter
from pipeline.heads.simple.zero_shot import unit_rows

TEMPERATURE_SPREAD = 1.5  # of log T around the spread of the logits: heads differ in their units
ONE_SHOT_TEMPERATURE = 0.35  # of standardised logits, where nothing can be held out

Fit = Callable[[LabelledFeatures], AnyHead]

PLAIN: dict[str, Callable[..., AnyHead]] = {
    "gda": fit_gda,
    "probe": fit_prior_probe,
    "kernel_ridge": fit_kernel_ridge,
    "tip": fit_tip_adapter,
    "linear": fit_linear,
}
KINDS = (*PLAIN, "pool", "coder", "coder_adapter", "prototype", "zero_shot")


def fit_closed_form(
    kind: str, *, support: LabelledFeatures, material: Material, folds: Folds, tune: bool, seed: int
) -> Judged:
    """Fit one of KINDS on checked rows. Raises DataError where it needs what `material` lacks."""
    if kind == "zero_shot" or (kind == "coder" and not tune):
        return _label_free(_text_head(kind, material=material, support=support), support=support, material=material)
    if kind == "prototype":
        return _prototypes(support, folds=folds)
    choices: list[dict[str, Any]] = []
    fit = _fit_of(kind, material=material, tune=tune, seed=seed, choices=choices)
    head = fit(support)
    choice = choices[0] if choices else None
    logits, rows = [], []
    for fold in range(folds.n_folds):
        held = folds.held_out(fold)
        fitted = fit(support.take(folds.kept(fold)))
        logits.append(fitted.score(take_rows(support.features, rows=held)).logits)
        rows.append(held)
    prior, before = fit_prior(
        support.features.image,
        labels=support.labels,
        groups=support.groups,
        classes=support.classes,
        text=material.text,
    )
    if not rows:
        empty, none = np.zeros((0, len(support.classes)), np.float32), np.zeros(0, np.int64)
        temperature = ONE_SHOT_TEMPERATURE * spread(head.score(support.features).logits)
        return Judged(head, temperature, none, empty, empty, prior=prior.name, choice=choice)
    after, judged = np.concatenate(logits).astype(np.float32), np.concatenate(rows)
    temperature = fit_temperature(
        after,
        labels=support.labels[judged],
        start=ONE_SHOT_TEMPERATURE * spread(after),
        prior_spread=TEMPERATURE_SPREAD,
    )
    return Judged(head, temperature, judged, before[judged], after, prior=prior.name, choice=choice)


def _label_free(head: AnyHead, *, support: LabelledFeatures, material: Material) -> Judged:
    """A head made of texts alone saw none of the images: all of them judge it."""
    rows = np.arange(support.labels.size)
    after = head.score(support.features).logits.astype(np.float32)
    before = after if material.text is None else material.text.score(support.features).logits
    temperature = fit_temperature(after, labels=support.labels)
    return Judged(head, temperature, rows, before, after, prior="zero_shot")


def _prototypes(support: LabelledFeatures, *, folds: Folds) -> Judged:
    """Image prototypes, judged leave-one-out."""
    head, left_out = fit_prototypes(
        support.features.image, labels=support.labels, groups=support.groups, classes=support.classes
    )
    rows = folds.judged
    logits = left_out[rows]
    temperature = fit_temperature(logits, labels=support.labels[rows]) if rows.size else 1.0
    return Judged(head, temperature, rows, logits, logits, prior=head.name)


def _text_head(kind: str, *, material: Material, support: LabelledFeatures) -> AnyHead:
    head = material.text if kind == "zero_shot" else material.coder
    if head is None:
        raise DataError(f"{kind} head: expected class texts, got none; give head.texts or another kind of head")
    return head if kind == "zero_shot" else _with_images(_coder_of(kind, material=material), support=support)


def _fit_of(kind: str, *, material: Material, tune: bool, seed: int, choices: list[dict[str, Any]]) -> Fit:
    if kind in PLAIN:
        fit = PLAIN[kind]
        text = material.text
        return lambda s: fit(s.features, labels=s.labels, groups=s.groups, classes=s.classes, text=text)
    if kind == "pool":
        return lambda s: _pool(s, material=material)
    coder = _coder_of(kind, material=material)

    def fit_coder(s: LabelledFeatures) -> AnyHead:
        head, choice = _tuned(coder, support=s, seed=seed) if tune else (_with_images(coder, support=s), {})
        if kind == "coder_adapter":
            adapter, about = _adapter(head, support=s)
            choices.append({**choice, **about})
            return adapter
        choices.append(choice)
        return head

    return fit_coder


def _coder_of(kind: str, *, material: Material) -> CoderHead:
    if material.coder is None:
        raise DataError(f"{kind} head: expected a text dictionary and a text tower, got none; give head.texts")
    return material.coder


def _pool(s: LabelledFeatures, *, material: Material) -> AnyHead:
    pool = s.features.image[:0] if material.pool is None else material.pool
    return fit_pool_head(
        s.features, labels=s.labels, groups=s.groups, classes=s.classes, pool=pool, text=material.text
    )[0]


def _with_images(head: CoderHead, *, support: LabelledFeatures) -> CoderHead:
    """The same classifier, which now knows the mean image its explanations compare with."""
    return make_coder_head(
        head.texts,
        classes=head.classes,
        weights=head.weights,
        form=head.form,
        scale=head.scale,
        pairs=head.pairs,
        sentences=head.sentences,
        image=support.features.image,
    )


def _tuned(head: CoderHead, *, support: LabelledFeatures, seed: int) -> tuple[CoderHead, dict[str, Any]]:
    """Weights of the texts, K and the weight of the one-to-one texts; each stays at its default unless it gains."""
    image, labels = support.features.image, support.labels
    told = tune_text_weights(
        image, labels=labels, groups=support.groups, texts=head.texts, form=head.form, scale=head.scale, seed=seed
    )
    weights = told.weights.astype(head.texts.vectors.dtype)  # as a bundle keeps them
    curve = neighbour_curve(image, labels=labels, texts=head.texts, weights=weights)
    k = choose_neighbours(curve)
    weighed = replace(
        _with_images(head, support=support),
        weights=weights,
        sums=class_sums(head.texts, weights=weights),
        top_k=k,
    )
    gamma = 0.0
    if head.pairs is not None and len(head.pairs.pair_of):
        stage1 = weighed.stage1(image)
        gamma = choose_gamma(
            stage1, evidence=pair_evidence(image, stage1=stage1, pairs=head.pairs), labels=labels
        ).gamma
    about = {
        "k": k,
        "k_curve": [{"k": p.k, "accuracy": p.accuracy, "gain": p.gain, "error": p.standard_error} for p in curve],
        "ridge": told.ridge,
        "weight_curve": [
            {"ridge": p.ridge, "accuracy": p.accuracy, "gain": p.gain, "error": p.standard_error} for p in told.curve
        ],
        "gamma": gamma,
    }
    return replace(weighed, gamma=gamma), about


def _adapter(head: CoderHead, *, support: LabelledFeatures) -> tuple[CoderAdapterHead, dict[str, Any]]:
    image = unit_rows(support.features.image)
    adapter = CoderAdapterHead(
        prior=head,
        gram=text_gram(head.texts.vectors),
        key_image=image,
        key_class=support.labels,
        alpha=0.0,
        beta=1.0,
    )
    choice = choose_adapter(
        head.score(support.features).logits,
        affinity=adapter.affinity(image),
        labels=support.labels,
        groups=support.groups,
    )
    about = {"alpha": choice.alpha, "beta": choice.beta, "n_judged": choice.n_judged}
    return replace(adapter, alpha=choice.alpha, beta=choice.beta), about
