"""Heads by the name they have on the command line, each as one fit that ends with a temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.auto import AutoReport, check_rows, fit_auto
from pipeline.heads.calibration import fit_temperature
from pipeline.heads.fit import LabelledFeatures, fit_head
from pipeline.heads.folds import make_folds
from pipeline.heads.gda import fit_gda, spread
from pipeline.heads.kernel_ridge import fit_kernel_ridge
from pipeline.heads.linear import fit_linear
from pipeline.heads.pool import fit_pool_head
from pipeline.heads.prior_probe import fit_prior_probe
from pipeline.heads.prototype import fit_prototypes
from pipeline.heads.tip_adapter import fit_tip_adapter
from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.interfaces import Head
from pipeline.types import Features, Float32Array

TEMPERATURE_SPREAD = 1.5  # of log T around the spread of the logits: heads differ in their units
ONE_SHOT_TEMPERATURE = 0.35  # of standardised logits, where nothing can be held out

Fit = Callable[[LabelledFeatures], Head]


@dataclass(frozen=True, eq=False)
class Setting:
    """What a head may be fitted with besides labelled rows."""

    text: ZeroShotHead | None
    pool: Float32Array | None  # (M, D)
    seed: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head ready to be judged."""

    head: Head
    temperature: float
    report: AutoReport | None = None


def fit_kind(kind: str, *, support: LabelledFeatures, setting: Setting) -> Fitted:
    """Fit the head called `kind`; its temperature comes from out-of-fold logits. Raises DataError."""
    if kind not in KINDS:
        raise DataError(f"--heads: expected some of {', '.join(KINDS)}, got {kind}")
    if kind == "zero_shot" and setting.text is None:
        raise DataError("zero_shot head: expected class texts, got none; give text_x in the features file")
    check_rows(support.features, labels=support.labels, classes=support.classes, pool=setting.pool)
    if kind == "auto":
        fitted = fit_auto(
            support.features,
            labels=support.labels,
            groups=support.groups,
            classes=support.classes,
            text=setting.text,
            pool=setting.pool,
            seed=setting.seed,
        )
        return Fitted(fitted.head, fitted.temperature, fitted.report)
    if kind == "ldc":
        deconfusion = fit_head(support, text=setting.text, kind="deconfusion", seed=setting.seed)
        return Fitted(deconfusion.head, deconfusion.temperature)
    return _calibrated(KINDS[kind](setting), support=support, seed=setting.seed)


def _calibrated(fit: Fit, *, support: LabelledFeatures, seed: int) -> Fitted:
    head = fit(support)
    folds = make_folds(support.labels, groups=support.groups, n_classes=len(support.classes), seed=seed)
    logits, judged = [], []
    for fold in range(folds.n_folds):
        held = folds.held_out(fold)
        logits.append(fit(_take(support, rows=folds.kept(fold))).score(_rows(support.features, rows=held)).logits)
        judged.append(support.labels[held])
    if not logits:
        return Fitted(head, ONE_SHOT_TEMPERATURE * spread(head.score(support.features).logits))
    joined, labels = np.concatenate(logits), np.concatenate(judged)
    start = ONE_SHOT_TEMPERATURE * spread(joined)
    return Fitted(head, fit_temperature(joined, labels=labels, start=start, prior_spread=TEMPERATURE_SPREAD))


def _rows(features: Features, *, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Features:
    return Features(image=features.image[rows], levels=tuple(level[rows] for level in features.levels))


def _take(support: LabelledFeatures, *, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> LabelledFeatures:
    return LabelledFeatures(
        features=_rows(support.features, rows=rows),
        labels=support.labels[rows],
        groups=support.groups[rows],
        classes=support.classes,
    )


def _plain(fit: Callable[..., Head]) -> Callable[[Setting], Fit]:
    def with_setting(setting: Setting) -> Fit:
        return lambda s: fit(s.features, labels=s.labels, groups=s.groups, classes=s.classes, text=setting.text)

    return with_setting


def _pool(setting: Setting) -> Fit:
    def fit(s: LabelledFeatures) -> Head:
        pool = s.features.image[:0] if setting.pool is None else setting.pool
        return fit_pool_head(
            s.features, labels=s.labels, groups=s.groups, classes=s.classes, pool=pool, text=setting.text
        )[0]

    return fit


def _prototype(setting: Setting) -> Fit:  # noqa: ARG001  # the signature all kinds share
    return lambda s: fit_prototypes(s.features.image, labels=s.labels, groups=s.groups, classes=s.classes)[0]


def _zero_shot(setting: Setting) -> Fit:
    def fit(_: LabelledFeatures) -> Head:
        assert setting.text is not None  # checked in fit_kind
        return setting.text

    return fit


KINDS: dict[str, Callable[[Setting], Fit]] = {
    "auto": _zero_shot,  # these two bring their own temperature, see fit_kind
    "ldc": _zero_shot,
    "gda": _plain(fit_gda),
    "probe": _plain(fit_prior_probe),
    "kernel_ridge": _plain(fit_kernel_ridge),
    "tip": _plain(fit_tip_adapter),
    "linear": _plain(fit_linear),
    "pool": _pool,
    "prototype": _prototype,
    "zero_shot": _zero_shot,
}
