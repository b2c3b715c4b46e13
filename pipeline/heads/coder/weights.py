"""Weights of the texts, learned from few labelled images and shrunk towards equal shares.

w_j = softmax of theta over the voters of a class; theta minimises the cross entropy plus ridge / 2 |theta|^2, so that
theta = 0, equal shares, is what no evidence leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import DataError
from pipeline.heads.calibration import fit_temperature, log_softmax, negative_log_likelihood
from pipeline.heads.coder.coding import (
    PUBLISHED_SCALE,
    FloatArray,
    Form,
    Kind,
    TextRows,
    class_sums,
    class_vectors,
    heuristic_scores,
    uniform_weights,
    unit,
)
from pipeline.heads.folds import Folds, make_folds
from pipeline.heads.whitening import Labels

Float64 = npt.NDArray[np.float64]

RIDGES = (1.0, 10.0, 100.0)  # 1 / variance of a text's log weight before any evidence
MAX_ITERATIONS = 25
TEMPERATURE_SPREAD = 1.5  # of log T of the equal shares: their own best temperature


@dataclass(frozen=True, slots=True)
class RidgePoint:
    """One strength of the shrinkage (None: equal shares), judged on held-out rows."""

    ridge: float | None
    accuracy: float
    negative_log_likelihood: float
    gain: float  # paired difference in accuracy to equal shares
    standard_error: float


@dataclass(frozen=True, eq=False)
class TextWeights:
    """Weights (M,), of a class's voters together 1; `ridge` None: equal shares stayed."""

    weights: FloatArray
    ridge: float | None
    curve: tuple[RidgePoint, ...]  # empty where no row could be held out


class _Shares:
    """The bank in double precision; theta has one entry per described text, then one per class for its names."""

    def __init__(self, texts: TextRows, *, form: Form, scale: float) -> None:
        described, naming = np.flatnonzero(texts.kind_of < Kind.NAME), texts.naming
        self.texts, self.form, self.scale = texts, form, scale
        self._described, self._naming = described, naming
        self._text, self._name = (texts.vectors[rows].astype(np.float64) for rows in (described, naming))
        self._text_class, self._name_class = texts.class_of[described], texts.class_of[naming]
        self._voter_class = np.concatenate([self._text_class, np.arange(texts.n_classes)])
        self.n_voters = len(self._voter_class)

    def shares(self, theta: Float64) -> Float64:
        """Softmax within each class."""
        grown = np.exp(theta - theta.max())
        out: Float64 = grown / np.bincount(self._voter_class, weights=grown)[self._voter_class]
        return out

    def weights(self, theta: Float64) -> FloatArray:
        """(M,) in the order of the bank."""
        shares = self.shares(theta)
        out = np.empty(len(self.texts.vectors))
        out[self._described] = shares[: len(self._described)]
        out[self._naming] = shares[len(self._described) :][self._name_class]
        return out

    def codes(self, image: FloatArray) -> tuple[Float64, Float64]:
        """(n, D) -> cosines (M', n) to described texts and (P, n) to names."""
        rows = unit(image.astype(np.float64)).T
        return self._text @ rows, self._name @ rows

    def loss(
        self, theta: Float64, *, codes: tuple[Float64, Float64], labels: Labels, temperature: float
    ) -> tuple[float, Float64]:
        """Cross entropy summed over rows, and its gradient by theta."""
        w, n_texts, c_of = self.shares(theta), len(self._text), self._name_class
        vectors = self._summed(self._text * w[:n_texts, None])[c_of] + self._name * w[n_texts:][c_of, None]
        plain = self.form is Form.PUBLISHED
        lengths = np.ones(len(vectors)) if plain else np.linalg.norm(vectors, axis=1)
        raw = self._summed(codes[0] * w[:n_texts, None])[c_of] + codes[1] * w[n_texts:][c_of, None]
        values = raw * (self.scale / lengths)[:, None]
        best: FloatArray = np.maximum.reduceat(values, np.flatnonzero(np.diff(c_of, prepend=-1)), axis=0)
        p = log_softmax(best.T / temperature).T
        loss = -float(p[labels, np.arange(labels.size)].sum())
        by_class = np.exp(p)
        by_class[labels, np.arange(labels.size)] -= 1.0
        by_name = np.where(values == best[c_of], by_class[c_of] / temperature, 0.0)
        pull = np.zeros(len(vectors)) if plain else (by_name * values).sum(axis=1) / lengths**2
        by_name *= (self.scale / lengths)[:, None]
        text_pull, name_pull = self._of_class(vectors * pull[:, None]), (self._name * vectors).sum(axis=1) * pull
        by_text = np.einsum("jn,jn->j", codes[0], self._of_class(by_name)[self._text_class])
        by_text -= np.einsum("jd,jd->j", self._text, text_pull[self._text_class])
        by_voter = np.bincount(c_of, weights=np.einsum("pn,pn->p", codes[1], by_name) - name_pull)
        by_share = np.concatenate([by_text, by_voter])
        mean = np.bincount(self._voter_class, weights=w * by_share)[self._voter_class]
        return loss, w * (by_share - mean)

    def _summed(self, rows: Float64) -> Float64:
        """Rows of described texts, summed by class; a class may have none."""
        out = np.zeros((self.texts.n_classes, rows.shape[1]))
        if len(rows):
            starts = np.flatnonzero(np.diff(self._text_class, prepend=-1))
            out[self._text_class[starts]] = np.add.reduceat(rows, starts, axis=0)
        return out

    def _of_class(self, rows: Float64) -> Float64:
        """Rows of names, summed by class."""
        out: Float64 = np.add.reduceat(rows, np.flatnonzero(np.diff(self._name_class, prepend=-1)), axis=0)
        return out

    def fit(self, image: FloatArray, *, labels: Labels, ridge: float, temperature: float) -> FloatArray:
        """Weights (M,) from rows (n, D), by L-BFGS from equal shares; deterministic."""
        codes = self.codes(image)
        theta = torch.zeros(self.n_voters, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([theta], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> float:
            x = theta.detach().numpy()
            loss, gradient = self.loss(x, codes=codes, labels=labels, temperature=temperature)
            theta.grad = torch.from_numpy((gradient + ridge * x) / labels.size)
            return (loss + 0.5 * ridge * float(x @ x)) / labels.size

        optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch leaves LBFGS.step untyped
        return self.weights(theta.detach().numpy())


def _require_fitting(image: FloatArray, *, labels: Labels, texts: TextRows) -> None:
    width, highest = texts.vectors.shape[1], int(labels.max(initial=0))
    if image.shape[1] != width or highest >= texts.n_classes:
        raise DataError(
            f"text weights: expected features of width {width} and labels below {texts.n_classes}, "
            f"got width {image.shape[1]} and label {highest}"
        )


def _scores(image: FloatArray, *, shares: _Shares, weights: FloatArray) -> FloatArray:
    vectors = class_vectors(class_sums(shares.texts, weights=weights), form=shares.form)
    return heuristic_scores(image, classes=vectors, scale=shares.scale)


def tune_text_weights(
    image: FloatArray,
    *,
    labels: Labels,
    groups: Labels,
    texts: TextRows,
    form: Form = Form.CORRECTED,
    scale: float = PUBLISHED_SCALE,
    ridges: Sequence[float] = RIDGES,
    seed: int = 0,
) -> TextWeights:
    """Weights from labelled rows (n, D), strength of the shrinkage chosen on folds split by source image (`groups`).

    Equal shares stay unless the paired held-out gain exceeds one standard error. Raises DataError for rows that do not
    fit the bank.
    """
    _require_fitting(image, labels=labels, texts=texts)
    equal = uniform_weights(texts)
    folds = make_folds(labels, groups=groups, n_classes=texts.n_classes, seed=seed)
    if folds.n_folds == 0 or folds.judged.size == 0:
        return TextWeights(equal, None, ())
    shares = _Shares(texts, form=form, scale=scale)
    base = _scores(image, shares=shares, weights=equal)
    temperature = fit_temperature(base, labels=labels, prior_spread=TEMPERATURE_SPREAD)
    curve = [_point(base, against=base, labels=labels, judged=folds.judged, ridge=None, temperature=temperature)]
    for ridge in ridges:
        held_out = _held_out(image, labels=labels, folds=folds, shares=shares, ridge=ridge, temperature=temperature)
        curve.append(
            _point(held_out, against=base, labels=labels, judged=folds.judged, ridge=ridge, temperature=temperature)
        )
    admitted = [point for point in curve[1:] if point.gain > point.standard_error]
    best = max(admitted, key=lambda p: (p.gain, -p.negative_log_likelihood), default=curve[0])
    if best.ridge is None:
        return TextWeights(equal, None, tuple(curve))
    weights = shares.fit(image, labels=labels, ridge=best.ridge, temperature=temperature)
    return TextWeights(weights, best.ridge, tuple(curve))


def _held_out(
    image: FloatArray, *, labels: Labels, folds: Folds, shares: _Shares, ridge: float, temperature: float
) -> FloatArray:
    """(n, C) scores, each judged row by weights that never saw its fold; rows never held out stay 0."""
    out = np.zeros((len(labels), shares.texts.n_classes), dtype=image.dtype)
    for fold in range(folds.n_folds):
        kept, judged = folds.kept(fold), folds.held_out(fold)
        weights = shares.fit(image[kept], labels=labels[kept], ridge=ridge, temperature=temperature)
        out[judged] = _scores(image[judged], shares=shares, weights=weights)
    return out


def _point(
    scores: FloatArray,
    *,
    against: FloatArray,
    labels: Labels,
    judged: Labels,
    ridge: float | None,
    temperature: float,
) -> RidgePoint:
    y = labels[judged]
    right: npt.NDArray[np.float64] = (scores[judged].argmax(axis=1) == y).astype(np.float64)
    difference = right - (against[judged].argmax(axis=1) == y)
    loss = negative_log_likelihood(scores[judged], labels=y, temperature=temperature)
    error = float(difference.std() / np.sqrt(max(1, y.size - 1)))
    return RidgePoint(ridge, float(right.mean()), loss, float(difference.mean()), error)
