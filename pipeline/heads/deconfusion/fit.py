"""Fits the deconfusion head: folds for every choice, then once more on everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.heads.calibration import fit_temperature
from pipeline.heads.deconfusion.fusion import ExpertLogits, Fusion, choose_fusion, fixed_fusion, is_harmful, prior_alone
from pipeline.heads.deconfusion.gate import fit_gate
from pipeline.heads.deconfusion.head import DeconfusionHead, Prior, prior_logits
from pipeline.heads.deconfusion.inference import FrozenNetwork
from pipeline.heads.deconfusion.network import DeconfusionNetwork
from pipeline.heads.deconfusion.training import FitRows, LabelFree, fit_network, one_thread, prepare
from pipeline.heads.fitted import Judged, LabelledFeatures
from pipeline.heads.folds import Folds, shots_per_class
from pipeline.heads.report import accuracy
from pipeline.heads.simple.prototype import fit_prototypes
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

FUSIONS = ("beta", "gate", "fixed")
ONE_SHOT = "one image per class: nothing could be held out, weights come from a fixed table"


def fit_deconfusion(
    support: LabelledFeatures,
    *,
    text: ZeroShotHead | None,
    folds: Folds,
    fusion: str = "beta",
    on_progress: Callable[[float], None] = lambda _: None,
) -> Judged:
    """LDC on checked rows (Li et al., CVPR 2025); deterministic for the seed of the folds. Blocks, on one thread."""
    with one_thread():
        return _Fit(support, text=text, folds=folds, on_progress=on_progress).run(fusion=fusion)


def fit_prior_of(
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

    def run(self, *, fusion: str) -> Judged:
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
            notes.append(ONE_SHOT)
            before = after = np.zeros((0, len(support.classes)), np.float32)
            temperature = 1.0
        else:
            chosen = choose_or_keep_prior(
                held_out,
                labels=support.labels[judged],
                fusion=fusion,
                shots=shots,
                has_text=self._text is not None,
                seed=self._folds.seed,
                notes=notes,
            )
            before, after = held_out.prior, chosen.apply(held_out)
            temperature = fit_temperature(after, labels=support.labels[judged])
        weights = {"beta": chosen.beta, "correction_weight": chosen.correction_weight}
        return Judged(
            head=DeconfusionHead(prior=prior, network=network, fusion=chosen),
            temperature=temperature,
            rows=judged,
            before=before,
            after=after,
            prior=prior.name,
            fusion={**weights, "residual_weight": chosen.residual_weight, "gated": float(chosen.gate is not None)},
            notes=tuple(notes),
        )

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
        prior, logits = fit_prior_of(self._rows.image, support=self._support, text=self._text, rows=rows)
        taken: FitRows = self._rows.take(rows)
        free: LabelFree = self._free
        n_classes = len(self._support.classes)
        network = fit_network(taken, free=free, prior=logits, n_classes=n_classes, seed=self._folds.seed)
        self._n_done += 1
        self._on_progress(self._n_done / (self._folds.n_folds + 1))
        return prior, network, logits


def choose_or_keep_prior(
    held_out: ExpertLogits, *, labels: Labels, fusion: str, shots: float, has_text: bool, seed: int, notes: list[str]
) -> Fusion:
    """Weights by the rule asked for; back to the prior where they did not beat it. Says in `notes` what is odd."""
    if fusion == "fixed":
        chosen = fixed_fusion(held_out, shots=shots, has_text=has_text)
    else:
        chosen = choose_fusion(held_out, labels=labels, shots=shots, has_text=has_text, seed=seed)
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
