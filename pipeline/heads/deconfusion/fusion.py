"""How prior, deconfused logits and MAF are put together: weights from out-of-fold logits, or a fixed table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.heads.calibration import fit_temperature, log_softmax
from pipeline.heads.deconfusion.gate import EvidenceGate
from pipeline.heads.folds import FOUR_FOLDS_FROM
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

RESIDUAL_WEIGHTS = (0.0, 0.5, 1.0)  # of the trained residuals (ICD's correction, MAF's adapters); 0 leaves one out
N_BETAS = 11  # 0, .1, .. 1: every fifth value of the published grid
MAX_SEARCH_ROWS = 600  # rows the search looks at; the choice does not get better beyond
SEARCH_SPREAD = 1.5  # of log T while weights are compared: each blend is judged at its own best temperature


@dataclass(frozen=True, eq=False)
class ExpertLogits:
    """Logits of the experts, row-centred, (n, C) each; out of fold wherever something is chosen from them."""

    prior: Float32Array
    correction: Float32Array
    maf: Float32Array
    maf_residual: Float32Array

    def take(self, rows: Labels) -> ExpertLogits:
        """Some of the rows."""
        return ExpertLogits(self.prior[rows], self.correction[rows], self.maf[rows], self.maf_residual[rows])


@dataclass(frozen=True, slots=True)
class Fusion:
    """f = beta * maf_scale * (m_0 + w_m residual) + (1 - beta) * (s + w_c c); beta 0 and w_c 0 is zero-shot itself."""

    beta: float
    correction_weight: float
    residual_weight: float
    maf_scale: float  # brings m_0 to the spread of s
    gate: EvidenceGate | None = None  # takes the place of beta, image by image

    def deconfused(self, experts: ExpertLogits) -> Float32Array:
        """(n, C), r: the prior with ICD's correction."""
        return experts.prior + np.float32(self.correction_weight) * experts.correction

    def expert(self, experts: ExpertLogits) -> Float32Array:
        """(n, C), MAF's logits in the units of the prior."""
        m = experts.maf + np.float32(self.residual_weight) * experts.maf_residual
        out: Float32Array = np.float32(self.maf_scale) * m
        return out

    def apply(self, experts: ExpertLogits) -> Float32Array:
        """(n, C) fused logits, in the units of the prior."""
        r, m = self.deconfused(experts), self.expert(experts)
        alpha = np.float32(self.beta) if self.gate is None else self.gate.alpha(r=r, m=m)
        out: Float32Array = alpha * m + (1 - alpha) * r
        return out

    @property
    def is_prior(self) -> bool:
        """True when the fused logits are the prior's own."""
        return self.gate is None and self.beta == 0.0 and self.correction_weight == 0.0


def prior_alone(experts: ExpertLogits) -> Fusion:
    """Do no harm: zero-shot (or the image prototypes) as it is."""
    return Fusion(beta=0.0, correction_weight=0.0, residual_weight=0.0, maf_scale=maf_scale(experts))


def maf_scale(experts: ExpertLogits) -> float:
    """std(s) / std(m_0): standardised logits, so that one beta means the same on every line."""
    return float(experts.prior.std() / max(float(experts.maf.std()), 1e-6))


def usual_beta(shots: float, *, has_text: bool) -> float:
    """Where nothing speaks against it: sqrt(K)/4 parts MAF beside a text prior, 1 - 1/(2K) beside image prototypes.

    Image prototypes know the same labels as MAF, in a poorer metric: beyond a few shots they add little.
    """
    if not has_text:
        return 1.0 - 0.5 / max(1.0, shots)
    weight = np.sqrt(max(1.0, shots)) / 4.0
    return float(weight / (1.0 + weight))


def usual_correction(*, has_text: bool) -> float:
    """Half of ICD's correction beside a text prior: +1 to +3 points at one to four labels on the simulator, no loss on
    real photos. None beside image prototypes: what ICD learns from the labels, MAF has learned from them already.
    """
    return 0.5 if has_text else 0.0


def fixed_fusion(experts: ExpertLogits, *, shots: float, has_text: bool) -> Fusion:
    """Without anything to hold out: the usual weights."""
    return Fusion(
        beta=usual_beta(shots, has_text=has_text),
        correction_weight=usual_correction(has_text=has_text),
        residual_weight=0.0,
        maf_scale=maf_scale(experts),
    )


def choose_fusion(experts: ExpertLogits, *, labels: Labels, shots: float, has_text: bool, seed: int) -> Fusion:
    """Of the weights whose out-of-fold likelihood is within one standard error of the best, those nearest the usual.

    Likelihood, not the published accuracy: with a hundred held-out images accuracy moves in whole points. The
    one-standard-error rule is Breiman et al.'s (1984).
    """
    rows = np.arange(labels.size)
    if labels.size > MAX_SEARCH_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(labels.size, MAX_SEARCH_ROWS, replace=False))
    few, y = experts.take(rows), labels[rows]
    usual, usual_c, scale = (
        usual_beta(shots, has_text=has_text),
        usual_correction(has_text=has_text),
        maf_scale(experts),
    )
    candidates = [
        Fusion(beta=float(beta), correction_weight=w_c, residual_weight=w_m, maf_scale=scale)
        for w_c in RESIDUAL_WEIGHTS
        for w_m in RESIDUAL_WEIGHTS
        for beta in np.linspace(0.0, 1.0, N_BETAS)
        if not (beta == 1.0 and w_c > 0.0) and not (beta == 0.0 and w_m > 0.0)  # has no part in the answer
    ]
    losses = np.stack([_row_losses(c.apply(few), labels=y) for c in candidates])  # (candidates, rows)
    best = int(losses.mean(axis=1).argmin())
    gap = losses - losses[best]
    n_errors = 1.0 if shots >= FOUR_FOLDS_FROM else 2.0  # with two shots a fold has one image per class and flatters s
    error = n_errors * gap.std(axis=1) / np.sqrt(y.size)
    good = [c for c, near in zip(candidates, gap.mean(axis=1) <= error, strict=True) if near]
    return min(good, key=lambda c: (abs(c.correction_weight - usual_c) + c.residual_weight, abs(c.beta - usual)))


def is_harmful(before: Float32Array, *, after: Float32Array, labels: Labels, shots: float, has_text: bool) -> bool:
    """True when the prior should be kept as it is, judged on the same held-out rows.

    Beside texts any loss counts. Image prototypes below four shots are flattered by folds that have one image per class
    and make MAF's metric from next to nothing: there, only a loss beyond two standard errors of the paired difference.
    """
    lost = (before.argmax(axis=1) == labels).astype(np.float64) - (after.argmax(axis=1) == labels)
    if has_text or shots >= FOUR_FOLDS_FROM:
        return float(lost.sum()) > 0
    return bool(lost.mean() > 2.0 * lost.std() / np.sqrt(labels.size))


def _row_losses(logits: Float32Array, *, labels: Labels) -> npt.NDArray[np.float64]:
    temperature = fit_temperature(logits, labels=labels, prior_spread=SEARCH_SPREAD, n_sections=10)
    log_p = log_softmax((logits / np.float32(temperature)).astype(np.float32))
    return -log_p[np.arange(labels.size), labels].astype(np.float64)
