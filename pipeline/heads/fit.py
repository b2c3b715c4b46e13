"""Fits a head on labelled features: folds for every choice, then once more on everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.calibration import fit_temperature
from pipeline.heads.deconfusion import DeconfusionHead, Prior, prior_logits
from pipeline.heads.folds import Folds, make_folds, shots_per_class
from pipeline.heads.fusion import ExpertLogits, Fusion, choose_fusion, fixed_fusion, is_harmful, prior_alone
from pipeline.heads.gate import fit_gate
from pipeline.heads.inference import FrozenNetwork
from pipeline.heads.network import DeconfusionNetwork
from pipeline.heads.novelty import NoveltyModel, fit_novelty
from pipeline.heads.prototype import fit_prototypes
from pipeline.heads.report import FitReport, accuracy, confused_pairs
from pipeline.heads.training import FitRows, LabelFree, fit_network, one_thread, prepare
from pipeline.heads.whitening import Labels
from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.types import Features, Float32Array

KINDS = ("deconfusion", "zero_shot", "prototype")
FUSIONS = ("beta", "gate", "fixed")
FittableHead = ZeroShotHead | DeconfusionHead | Prior


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """The support set as features; `groups` numbers the source image of each row, views of one image share it."""

    features: Features  # N rows
    labels: Labels  # (N,)
    groups: Labels  # (N,)
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head, its temperature and what was measured."""

    head: FittableHead
    temperature: float
    report: FitReport


def fit_head(
    support: LabelledFeatures,
    *,
    text: ZeroShotHead | None,
    kind: str = "deconfusion",
    fusion: str = "beta",
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _: None,
) -> FittedHead:
    """Fit and judge a head; deterministic for a seed, blocks, calls `on_progress` with a share from 0 to 1.

    Raises DataError when the support set cannot be fitted.
    """
    check_support(support, text=text, kind=kind, fusion=fusion)
    with one_thread():
        return _fit_checked(support, text=text, kind=kind, fusion=fusion, seed=seed, on_progress=on_progress)


def _fit_checked(
    support: LabelledFeatures,
    *,
    text: ZeroShotHead | None,
    kind: str,
    fusion: str,
    seed: int,
    on_progress: Callable[[float], None],
) -> FittedHead:
    labels, classes = support.labels, support.classes
    folds = make_folds(labels, groups=support.groups, n_classes=len(classes), seed=seed)
    image = support.features.image
    novelty = fit_novelty(image, labels=labels, n_classes=len(classes), folds=folds)
    if kind == "deconfusion":
        return _Fit(support, text=text, folds=folds, on_progress=on_progress).run(fusion=fusion, novelty=novelty)
    on_progress(1.0)
    return _fit_plain(support, text=text if kind == "zero_shot" else None, folds=folds, novelty=novelty)


def check_support(support: LabelledFeatures, *, text: ZeroShotHead | None, kind: str, fusion: str) -> None:
    """Raises DataError with what was expected and got."""
    image, n = support.features.image, support.labels.size
    if kind not in KINDS or fusion not in FUSIONS:
        raise DataError(f"expected a head of {', '.join(KINDS)} with fusion {', '.join(FUSIONS)}, got {kind}, {fusion}")
    if kind == "zero_shot" and text is None:
        raise DataError("zero_shot head: expected class texts, got none; give head.texts or another kind of head")
    if len(support.classes) < 2:
        raise DataError(f"expected at least two classes, got {len(support.classes)}: {', '.join(support.classes)}")
    if image.ndim != 2 or image.shape[0] != n or any(x.shape[0] != n for x in support.features.levels):
        raise DataError(f"expected one row of features per label, got {image.shape} for {n} labels")
    bad = np.flatnonzero(~np.isfinite(image).all(axis=1))
    for level in support.features.levels:
        bad = np.union1d(bad, np.flatnonzero(~np.isfinite(level).all(axis=1)))
    if bad.size:
        first = support.classes[int(support.labels[bad[0]])]
        raise DataError(f"expected finite features, got NaN or infinity in row {bad[0]} (class {first})")
    missing = [c for i, c in enumerate(support.classes) if not (support.labels == i).any()]
    if missing:
        raise DataError(f"expected at least one image of every class, got none of: {', '.join(missing)}")
    if text is not None and text.classes != support.classes:
        raise DataError(f"texts: expected the classes {support.classes}, got {text.classes}")
    if text is not None and text.prototypes.shape[1] != image.shape[1]:
        raise DataError(f"expected texts and images of one width, got {text.prototypes.shape[1]} and {image.shape[1]}")


def _fit_plain(
    support: LabelledFeatures, *, text: ZeroShotHead | None, folds: Folds, novelty: NoveltyModel | None
) -> FittedHead:
    """Zero-shot, judged on all images (it saw none), or image prototypes, judged leave-one-out."""
    prior, logits = _prior(support.features.image, support=support, text=text, rows=np.arange(support.labels.size))
    judged = np.arange(support.labels.size) if text is not None else folds.judged
    report = _report(support, folds=folds, before=logits[judged], after=logits[judged], judged=judged)
    temperature = fit_temperature(logits[judged], labels=support.labels[judged]) if judged.size else 1.0
    threshold = None if novelty is None else novelty.threshold
    report = replace(report, temperature=temperature, novelty_threshold=threshold, prior=prior.name)
    return FittedHead(head=replace(prior, novelty=novelty), temperature=temperature, report=report)


def _prior(
    image: Float32Array, *, support: LabelledFeatures, text: ZeroShotHead | None, rows: Labels
) -> tuple[Prior, Float32Array]:
    """The prior fitted on `rows` and their logits, leave-one-out where they made it."""
    if text is not None:
        return text, prior_logits(text, image=image[rows])
    return fit_prototypes(
        image[rows], labels=support.labels[rows], groups=support.groups[rows], classes=support.classes
    )


class _Fit:
    """One run of the deconfusion fit; holds what its folds share."""

    def __init__(
        self,
        support: LabelledFeatures,
        *,
        text: ZeroShotHead | None,
        folds: Folds,
        on_progress: Callable[[float], None],
    ) -> None:
        self._support, self._text, self._folds = support, text, folds
        features = support.features
        self._rows, self._free = prepare(
            features.image, levels=features.levels, labels=support.labels, groups=support.groups
        )
        self._on_progress = on_progress
        self._n_done = 0

    def run(self, *, fusion: str, novelty: NoveltyModel | None) -> FittedHead:
        """Folds, choices, refit on everything."""
        support, judged = self._support, self._folds.judged
        held_out = self._out_of_fold()
        prior, network, logits = self._fit(np.arange(support.labels.size))
        shots = float(np.median(shots_per_class(support.labels, groups=support.groups, n_classes=len(support.classes))))
        notes: list[str] = []
        if held_out is None:
            rows = self._rows
            seen = FrozenNetwork(network).experts(rows.image, levels=rows.levels, prior=logits)
            chosen = fixed_fusion(seen, shots=shots, has_text=self._text is not None)
            notes.append("one image per class: nothing could be held out, weights come from a fixed table")
            empty = np.zeros((0, len(support.classes)), np.float32)
            before, after, temperature = empty, empty, 1.0
        else:
            chosen = self._choose(held_out, fusion=fusion, shots=shots, notes=notes)
            before, after = held_out.prior, chosen.apply(held_out)
            temperature = fit_temperature(after, labels=support.labels[judged])
        report = _report(support, folds=self._folds, before=before, after=after, judged=judged)
        weights = {"beta": chosen.beta, "correction_weight": chosen.correction_weight}
        report = replace(
            report,
            prior=prior.name,
            temperature=temperature,
            fusion={**weights, "residual_weight": chosen.residual_weight, "gated": float(chosen.gate is not None)},
            novelty_threshold=None if novelty is None else novelty.threshold,
            notes=tuple(notes),
        )
        head = DeconfusionHead(prior=prior, network=network, fusion=chosen, novelty=novelty)
        return FittedHead(head=head, temperature=temperature, report=report)

    def _out_of_fold(self) -> ExpertLogits | None:
        """The experts' logits of every held-out row, in the order of `folds.judged`."""
        folds = self._folds
        if not folds.n_folds:
            return None
        n, n_classes = self._support.labels.size, len(self._support.classes)
        stacked = [np.zeros((n, n_classes), np.float32) for _ in range(4)]
        for fold in range(folds.n_folds):
            prior, network, _ = self._fit(folds.kept(fold))
            held = self._rows.take(folds.held_out(fold))
            s = prior_logits(prior, image=held.image)
            e = FrozenNetwork(network).experts(held.image, levels=held.levels, prior=s)
            for target, part in zip(stacked, (e.prior, e.correction, e.maf, e.maf_residual), strict=True):
                target[folds.held_out(fold)] = part
        return ExpertLogits(*stacked).take(folds.judged)

    def _fit(self, rows: Labels) -> tuple[Prior, DeconfusionNetwork, Float32Array]:
        prior, logits = _prior(self._rows.image, support=self._support, text=self._text, rows=rows)
        taken: FitRows = self._rows.take(rows)
        free: LabelFree = self._free
        n_classes = len(self._support.classes)
        network = fit_network(taken, free=free, prior=logits, n_classes=n_classes, seed=self._folds.seed)
        self._n_done += 1
        self._on_progress(self._n_done / (self._folds.n_folds + 1))
        return prior, network, logits

    def _choose(self, held_out: ExpertLogits, *, fusion: str, shots: float, notes: list[str]) -> Fusion:
        """Weights by the rule asked for; back to the prior where they did not beat it."""
        labels, has_text = self._support.labels[self._folds.judged], self._text is not None
        if fusion == "fixed":
            chosen = fixed_fusion(held_out, shots=shots, has_text=has_text)
        else:
            chosen = choose_fusion(held_out, labels=labels, shots=shots, has_text=has_text, seed=self._folds.seed)
        if fusion == "gate":
            r, m = chosen.deconfused(held_out), chosen.expert(held_out)
            chosen = replace(chosen, gate=fit_gate(r, m=m, labels=labels, beta=chosen.beta))
        before = accuracy(held_out.prior, labels=labels)
        fused = chosen.apply(held_out)
        after = accuracy(fused, labels=labels)
        if is_harmful(held_out.prior, after=fused, labels=labels, shots=shots, has_text=has_text):
            notes.append(
                f"the fitted head was worse out of fold ({after.n_right} of {after.n} right) than the prior "
                f"({before.n_right}): the prior is kept as it is"
            )
            return prior_alone(held_out)
        if after.n_right <= before.n_right:
            notes.append(
                f"the fitted head was right no more often than the prior out of fold ({after.n_right} and "
                f"{before.n_right} of {after.n}): more images would tell"
            )
        return chosen


def _report(
    support: LabelledFeatures, *, folds: Folds, before: Float32Array, after: Float32Array, judged: Labels
) -> FitReport:
    labels, classes = support.labels[judged], support.classes
    shots = shots_per_class(support.labels, groups=support.groups, n_classes=len(classes))
    return FitReport(
        n_images=int(shots.sum()),
        n_classes=len(classes),
        shots=tuple(int(k) for k in shots),
        folds=folds.kind,
        seed=folds.seed,
        prior="",
        accuracy_zero_shot=accuracy(before, labels=labels),
        accuracy_head=accuracy(after, labels=labels),
        confused_before=confused_pairs(before, labels=labels, classes=classes),
        confused_after=confused_pairs(after, labels=labels, classes=classes),
        temperature=1.0,
        fusion={},
        novelty_threshold=None,
        notes=(),
    )
