"""Fits the class-embedding form of the deconfusion head: folds for every choice, then once more on everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.heads.calibration import fit_temperature
from pipeline.heads.deconfusion.fit import ONE_SHOT, choose_or_keep_prior, fit_prior_of
from pipeline.heads.deconfusion.fusion import ExpertLogits, Fusion, fixed_fusion
from pipeline.heads.deconfusion.head import prior_logits
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead, SharedSpace, class_embeddings
from pipeline.heads.deconfusion.shared_network import CorrectionRows, fit_correction
from pipeline.heads.deconfusion.training import FitRows, LabelFree, one_thread, prepare
from pipeline.heads.fitted import Judged, LabelledFeatures, take_rows
from pipeline.heads.folds import Folds, shots_per_class
from pipeline.heads.metric import fit_metric
from pipeline.heads.mixed_prior import has_text
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels, class_means
from pipeline.types import Float32Array


def fit_deconfusion_shared(
    support: LabelledFeatures,
    *,
    text: ZeroShotHead | None,
    folds: Folds,
    fusion: str = "beta",
    on_progress: Callable[[float], None] = lambda _: None,
) -> Judged:
    """The head on checked rows; deterministic for the seed of the folds. Blocks, on one thread.

    Texts count only where every class has one. At one shot nothing is trained: a class's embedding would be the very
    image to be told from it.
    """
    if text is not None and not has_text(text).all():
        text = None
    with one_thread():
        return _judged(support, text=text, folds=folds, fusion=fusion, on_progress=on_progress)


def _judged(
    support: LabelledFeatures,
    *,
    text: ZeroShotHead | None,
    folds: Folds,
    fusion: str,
    on_progress: Callable[[float], None],
) -> Judged:
    n_classes, labels = len(support.classes), support.labels
    features = support.features
    rows, free = prepare(features.image, levels=features.levels, labels=labels, groups=support.groups)
    shots = float(np.median(shots_per_class(labels, groups=support.groups, n_classes=n_classes)))
    known = _Known(support, rows=rows, free=free, text=text, shots=shots, seed=folds.seed)
    head, fitted_on = known.fit(np.arange(labels.size))
    held_out = _out_of_fold(known, folds=folds, on_progress=on_progress) if folds.n_folds else None
    notes: list[str] = []
    if held_out is None:
        seen = head.experts(features, prior=fitted_on)
        chosen = fixed_fusion(seen, shots=shots, has_text=text is not None)
        notes.append(ONE_SHOT)
        before = after = np.zeros((0, n_classes), np.float32)
        temperature = 1.0
    else:
        chosen = known.choose(held_out, folds=folds, fusion=fusion, notes=notes)
        before, after = held_out.prior, chosen.apply(held_out)
        temperature = fit_temperature(after, labels=labels[folds.judged])
    return Judged(
        head=replace(head, fusion=chosen),
        temperature=temperature,
        rows=folds.judged,
        before=before,
        after=after,
        prior=head.prior.name,
        fusion={"beta": chosen.beta, "correction_weight": chosen.correction_weight},
        notes=tuple(notes),
    )


def _out_of_fold(known: _Known, *, folds: Folds, on_progress: Callable[[float], None]) -> ExpertLogits:
    """The experts' logits of every held-out row, in the order of `folds.judged`."""
    features, n = known.support.features, known.support.labels.size
    stacked = [np.zeros((n, len(known.support.classes)), np.float32) for _ in range(4)]
    for fold in range(folds.n_folds):
        head, _ = known.fit(folds.kept(fold))
        held = folds.held_out(fold)
        few = take_rows(features, rows=held)
        e = head.experts(few, prior=prior_logits(head.prior, image=few.image))
        for target, part in zip(stacked, (e.prior, e.correction, e.maf, e.maf_residual), strict=True):
            target[held] = part
        on_progress((fold + 1) / (folds.n_folds + 1))
    return ExpertLogits(*stacked).take(folds.judged)


@dataclass(frozen=True, eq=False)
class _Known:
    """What the folds share, and one fit on some of the rows."""

    support: LabelledFeatures
    rows: FitRows
    free: LabelFree
    text: ZeroShotHead | None
    shots: float
    seed: int

    def fit(self, rows: Labels) -> tuple[DeconfusionSharedHead, Float32Array]:
        """The head fitted on `rows`, with its prior's logits on them; the weights of fusion are chosen later."""
        prior, logits = fit_prior_of(self.rows.image, support=self.support, text=self.text, rows=rows)
        few = self.support.take(rows)
        space = self._space(self.rows.take(rows), n_classes=len(few.classes))
        codes = space.codes(few.features)
        means = class_means(codes.astype(np.float64), labels=few.labels, n_classes=len(few.classes)).astype(np.float32)
        train = self._training_rows(few, codes=codes, means=means, prior=logits)
        head = DeconfusionSharedHead(
            prior=prior,
            space=replace(space, within=_within(codes, labels=few.labels, means=means)),
            means=means,
            n_images=shots_per_class(few.labels, groups=few.groups, n_classes=len(few.classes)),
            text_centre=self._text_centre,
            correction=fit_correction(train, shots=self.shots, seed=self.seed),
            fusion=Fusion(beta=0.0, correction_weight=0.0, residual_weight=0.0, maf_scale=1.0),
        )
        return head, logits

    def choose(self, held_out: ExpertLogits, *, folds: Folds, fusion: str, notes: list[str]) -> Fusion:
        """The weights of fusion by what was held out."""
        return choose_or_keep_prior(
            held_out,
            labels=self.support.labels[folds.judged],
            fusion=fusion,
            shots=self.shots,
            has_text=self.text is not None,
            seed=folds.seed,
            notes=notes,
        )

    @property
    def _text_centre(self) -> Float32Array:
        return np.zeros(0, np.float32) if self.text is None else self.text.prototypes.mean(axis=0)

    def _space(self, rows: FitRows, *, n_classes: int) -> SharedSpace:
        free, spans = self.free, [self.free.image_span, self.free.level_span]
        share = 1.0 if free.level_span is None else 0.5
        image, levels = (
            None if span is None else fit_metric(x, labels=rows.labels, n_classes=n_classes, span=span, size=share)
            for x, span in zip((rows.image, rows.levels), spans, strict=True)
        )
        assert image is not None
        return SharedSpace(image, levels, free.level_mean, free.level_gain, free.level_dims, within=0.0)

    def _training_rows(
        self, few: LabelledFeatures, *, codes: Float32Array, means: Float32Array, prior: Float32Array
    ) -> CorrectionRows:
        """Every row beside its own class made without it; a row alone in its class has no such class."""
        texts = None if self.text is None else self.text.prototypes
        own, possible = _own_means(codes, labels=few.labels, groups=few.groups, means=means)
        labels = few.labels[possible]
        own_texts = None if texts is None else texts[labels]
        return CorrectionRows(
            codes=codes[possible],
            prior=prior[possible],
            labels=labels,
            classes=class_embeddings(means, texts=texts, text_centre=self._text_centre),
            own=class_embeddings(own[possible], texts=own_texts, text_centre=self._text_centre),
        )


def _own_means(
    codes: Float32Array, *, labels: Labels, groups: Labels, means: Float32Array
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """(N, M) mean of the row's class without its source image, and (N,) whether the class has another image."""
    counts = np.bincount(labels, minlength=len(means))[labels]
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.zeros((int(group_of.max()) + 1, codes.shape[1]))
    np.add.at(sums, group_of, codes)
    left = counts - np.bincount(group_of)[group_of]
    rest = means[labels] * counts[:, None].astype(np.float64) - sums[group_of]
    return (rest / np.maximum(left, 1)[:, None]).astype(np.float32), left > 0


def _within(codes: Float32Array, *, labels: Labels, means: Float32Array) -> float:
    """Mean squared distance to the class mean, freed from the bias of means made of the same rows; 0 at one shot."""
    n_free = labels.size - np.unique(labels).size
    squared = ((codes - means[labels]) ** 2).sum(dtype=np.float64)
    return float(squared / n_free) if n_free else 0.0
