"""Unlabelled frames: a shared-covariance Gaussian classifier whose means and covariance also see an unlabelled pool."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.heads.auto.pool_choice import MIN_COVERAGE, PoolChoice, choose_pool
from pipeline.heads.mixed_prior import fit_prior
from pipeline.heads.responsibilities import balanced, neighbours, smoothed
from pipeline.heads.simple.affine import AffineHead, Array, centred_rows, one_hot
from pipeline.heads.simple.kernel_ridge import fit_kernel_ridge
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.whitening import TINY, Labels, class_means, fit_span, shrunk, within_covariance
from pipeline.types import Features, Float32Array

SHRINKAGE = 0.5  # .4 to .7 are alike; .9 loses three points on fine-grained classes
TEMPERATURE = 8.0  # of the responsibilities from two shots on
ONE_SHOT_TEMPERATURE = 5.0  # 3 to 8 are alike there
BALANCE = 4.0  # weight of the class shares against the logits, from two shots on
ONE_SHOT_BALANCE = 2.0  # 2 and 4 are alike there
LABELLED_WEIGHT = 3.0  # rows of the pool that one labelled row counts for; 2 to 5 are alike
CAP = 4.0  # unlabelled mass of a class, in shots: one frequent class may not take over
EVEN_CAP = 0.7  # of an even share of the pool, where that is more than the cap in shots
ROUNDS = 8
HALF_TRUST = 200.0  # rows of covered mass at which the pool's scatter counts as much as the labelled rows' own
FIRST_SCALE = 20.0  # of the cosines that make the first responsibilities where one shot gives no within-class scatter
SIMILAR_SHARE = 0.15  # of kernel ridge in the responsibilities at one shot, where the covariance is a guess
SIMILAR_SCALE = 4.0  # logit units per standard deviation of that opinion
MAX_RANK = 512


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What became of the pool."""

    n_offered: int
    n_novel: int  # rows left out because no class is near
    n_used: int
    coverage: float  # 0..1, mean over classes of the share of an even half-portion that was found
    used: bool  # False: the pool does not cover the classes, so the labelled rows stand alone

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What EM runs on, inside the span of labelled and unlabelled rows: (N, R), (M, R) and logits (M, C) or None."""

    rows: Array
    labels: Labels
    pool: Array
    dim: int  # D, before the projection
    n_classes: int
    first: Array | None = None  # (M, C) logits of the first responsibilities; only at one shot, like the next
    similar: Array | None = None  # (M, C) logits of another head, mixed into the responsibilities of every round
    text: Array | None = None  # (M, C) text logits, added in every round

    @property
    def temperature(self) -> float:
        """Of the responsibilities."""
        return TEMPERATURE if self.first is None else ONE_SHOT_TEMPERATURE

    @property
    def balance(self) -> float:
        """Of the class shares."""
        return BALANCE if self.first is None else ONE_SHOT_BALANCE


@dataclass(frozen=True, eq=False)
class Moments:
    """What the labelled rows add in every round."""

    counts: Array  # (C,)
    sums: Array  # (C, R)
    squares: Array  # (R, R)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Class means (C, R), shared precision (R, R) and, per class, the rows that its mean was taken from."""

    means: Array
    covariance: Array
    precision: Array
    rows_of_mean: Array  # (C,)

    def discriminant(self) -> tuple[Array, Array]:
        """Weights (C, R), biases (C,): a mean of n rows lies tr(P W)/n too far from the origin, which is given back.

        Without that term classes whose mean rests on few rows lose rows to those with many.
        """
        weights = self.means @ self.precision
        excess = float((self.precision * self.covariance).sum()) / self.rows_of_mean
        return weights, -0.5 * (weights * self.means).sum(axis=1) + 0.5 * excess


def fit_pool_head(
    features: Features,
    *,
    labels: Labels,
    groups: Labels,
    classes: tuple[str, ...],
    pool: Float32Array,
    text: ZeroShotHead | None = None,
) -> tuple[AffineHead, PoolReport]:
    """The semi-supervised head over pool rows (M, D); one that used no pool where the pool does not cover the classes.

    EM with soft responsibilities (Dempster et al., 1977; few-shot use as in TransCLIP, Zanella et al., 2024), labelled
    rows weighing more, each class's unlabelled mass capped. The pool's labels are no argument: nothing can read them.
    """
    choice = choose_pool(features.image, labels=labels, n_classes=len(classes), pool=pool, text=text)
    used = choice.coverage >= MIN_COVERAGE
    rows = pool[choice.rows] if used else pool[:0]
    prior, _ = fit_prior(features.image, labels=labels, groups=groups, classes=classes, text=text)
    texts = None if text is None else prior.score(Features(image=rows)).logits
    weights, bias, centre = fit_discriminant(
        features.image, labels=labels, n_classes=len(classes), pool=rows, texts=texts
    )
    head = AffineHead(
        kind="pool",
        prior=prior,
        prior_weight=0.0 if text is None else 1.0,
        centre=centre,
        weights=weights,
        bias=bias,
    )
    return head, report(choice, n_offered=pool.shape[0], used=used)


def report(choice: PoolChoice, *, n_offered: int, used: bool) -> PoolReport:
    """What the choice says about a pool of `n_offered` rows."""
    n_used = int(choice.rows.size) if used else 0
    return PoolReport(n_offered, n_novel=choice.n_novel, n_used=n_used, coverage=choice.coverage, used=used)


def fit_discriminant(
    image: Float32Array, *, labels: Labels, n_classes: int, pool: Float32Array, texts: Float32Array | None
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Weights (C, D), biases (C,) and centre (D,) of the Gaussian classifier over (x - centre), over temperature."""
    both = np.concatenate([image, pool]).astype(np.float32)
    span = fit_span(both, max_rank=MAX_RANK)
    one_shot = float(np.median(np.bincount(labels, minlength=n_classes))) <= 1.0 and pool.shape[0] > 0
    evidence = Evidence(
        rows=(image.astype(np.float64) - span.centre) @ span.directions,
        labels=labels,
        pool=(pool.astype(np.float64) - span.centre) @ span.directions,
        dim=image.shape[1],
        n_classes=n_classes,
        first=_cosines(image, labels=labels, n_classes=n_classes, pool=pool) if one_shot else None,
        similar=_similar(image, labels=labels, n_classes=n_classes, pool=pool) if one_shot else None,
        text=None if texts is None else texts.astype(np.float64),
    )
    w, b = expectation_maximisation(evidence).discriminant()
    weights = (w @ span.directions.T / evidence.temperature).astype(np.float32)
    return weights, (b / evidence.temperature).astype(np.float32), span.centre.astype(np.float32)


def expectation_maximisation(evidence: Evidence) -> Gaussian:
    """Rounds of responsibilities and means; without a pool the plain Gaussian of the labelled rows."""
    counts = np.bincount(evidence.labels, minlength=evidence.n_classes).astype(np.float64)
    labelled = Moments(
        counts=counts,
        sums=one_hot(evidence.labels, n_classes=evidence.n_classes).T @ evidence.rows,
        squares=evidence.rows.T @ evidence.rows,
    )
    own = _own_covariance(evidence)
    means = class_means(evidence.rows, labels=evidence.labels, n_classes=evidence.n_classes)
    state = _gaussian(means, covariance=own, rows_of_mean=np.maximum(counts, 1.0), dim=evidence.dim)
    if not evidence.pool.shape[0]:
        return state
    for i in range(ROUNDS):
        responsibilities = _responsibilities(evidence, state=state, first=i == 0)
        state = _maximise(evidence, own=own, labelled=labelled, responsibilities=responsibilities)
    return state


def _own_covariance(evidence: Evidence) -> Array:
    """Of the labelled rows; with one row per class and a pool, the same in all directions.

    Their scatter around the grand mean is scatter *between* classes: it would shrink what tells them apart.
    """
    own = within_covariance(evidence.rows, labels=evidence.labels, n_classes=evidence.n_classes)
    if evidence.first is None:
        return own
    return np.eye(own.shape[0]) * float(np.trace(own)) / evidence.dim


def _gaussian(means: Array, *, covariance: Array, rows_of_mean: Array, dim: int) -> Gaussian:
    precision: Array = np.linalg.inv(shrunk(covariance, dim=dim, shrinkage=SHRINKAGE)).astype(np.float64)
    return Gaussian(means=means, covariance=covariance, precision=precision, rows_of_mean=rows_of_mean)


def _responsibilities(evidence: Evidence, *, state: Gaussian, first: bool) -> Array:
    """(M, C), rows summing to one; at one shot neighbours have a say, in every round but the first."""
    if first and evidence.first is not None:
        logits = evidence.first
    else:
        weights, bias = state.discriminant()
        logits = (evidence.pool @ weights.T + bias) / evidence.temperature
    if evidence.similar is not None:
        logits = (1.0 - SIMILAR_SHARE) * logits + SIMILAR_SHARE * evidence.similar
    if evidence.text is not None:
        logits = logits + evidence.text
    found = balanced(logits, balance=evidence.balance)
    if first or evidence.first is None:
        return found
    return smoothed(found, near=neighbours(evidence.pool, precision=state.precision))


def _maximise(evidence: Evidence, *, own: Array, labelled: Moments, responsibilities: Array) -> Gaussian:
    share = responsibilities.mean(axis=0)
    evenness = float(np.exp(-(share * np.log(share + TINY)).sum())) / evidence.n_classes  # perplexity over C
    even = EVEN_CAP * evidence.pool.shape[0] / evidence.n_classes
    limit = np.maximum(CAP * np.maximum(labelled.counts, 1.0), even)
    r = responsibilities * np.minimum(1.0, limit / np.maximum(responsibilities.sum(axis=0), TINY))
    scaled = evidence.pool * np.sqrt(r.sum(axis=1))[:, None]
    counts = LABELLED_WEIGHT * labelled.counts + r.sum(axis=0)
    sums = LABELLED_WEIGHT * labelled.sums + r.T @ evidence.pool
    squares = LABELLED_WEIGHT * labelled.squares + scaled.T @ scaled
    means = sums / np.maximum(counts, TINY)[:, None]
    scatter = squares - sums.T @ means  # sum of r (x - mu)(x - mu)^T, as the means are those of the same weights
    mass = float(r.sum()) * evenness
    trust = mass / (mass + HALF_TRUST)
    covariance = trust * scatter / counts.sum() + (1.0 - trust) * own
    return _gaussian(means, covariance=covariance, rows_of_mean=counts / LABELLED_WEIGHT, dim=evidence.dim)


def _cosines(image: Float32Array, *, labels: Labels, n_classes: int, pool: Float32Array) -> Array:
    """(M, C) logits from centred cosines: with one row per class there is no within-class scatter yet."""
    centre = image.mean(axis=0)
    means = class_means(image.astype(np.float64), labels=labels, n_classes=n_classes).astype(np.float32)
    return FIRST_SCALE * (unit_rows(pool - centre) @ unit_rows(means - centre).T).astype(np.float64)


def _similar(image: Float32Array, *, labels: Labels, n_classes: int, pool: Float32Array) -> Array:
    """(M, C) kernel ridge's logits, standardised over the pool."""
    head = fit_kernel_ridge(
        Features(image=image), labels=labels, groups=np.arange(labels.size), classes=tuple(map(str, range(n_classes)))
    )
    logits = centred_rows(head.score(Features(image=pool)).logits).astype(np.float64)
    out: Array = SIMILAR_SCALE * logits / max(float(logits.std()), TINY)
    return out
