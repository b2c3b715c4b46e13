"""The heads that `auto` blends, each as one call on the rows of a fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.heads.auto.blend import Part
from pipeline.heads.auto.pool import fit_discriminant
from pipeline.heads.mixed_prior import AnyPrior, fit_prior
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.gda import discriminant, fit_gda
from pipeline.heads.simple.kernel_ridge import fit_kernel_ridge
from pipeline.heads.simple.linear import fit_linear
from pipeline.heads.simple.prior_probe import fit_prior_probe
from pipeline.heads.simple.whitened_probe import fit_whitened_probe
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import Labels
from pipeline.types import Features, Float32Array

BIG = 2.0e9  # N x C x D of one pass; above it heads that iterate over rows make way for closed forms
LINEAR_ITERATIONS = 30  # stopped early, started at the class means: as accurate as at the optimum, a third of the time

Expert = Callable[[Labels], Part]


@dataclass(frozen=True, eq=False)
class Task:
    """The labelled rows, the texts and the chosen rows of the pool; what every expert is fitted on."""

    features: Features
    labels: Labels  # (N,)
    groups: Labels  # (N,)
    classes: tuple[str, ...]
    text: ZeroShotHead | None
    pool: Float32Array | None  # (M, D)

    @property
    def big(self) -> bool:
        """Too many rows and classes for iterations within seconds."""
        n, dim = map(int, self.features.image.shape)
        return float(n) * dim * len(self.classes) > BIG

    def take(self, rows: Labels) -> Task:
        """Some of the labelled rows, the whole pool."""
        image, levels = self.features.image[rows], tuple(level[rows] for level in self.features.levels)
        return Task(
            features=Features(image=image, levels=levels),
            labels=self.labels[rows],
            groups=self.groups[rows],
            classes=self.classes,
            text=self.text,
            pool=self.pool,
        )

    @property
    def prior(self) -> AnyPrior:
        """Texts, image prototypes, or both."""
        f, groups = self.features.image, self.groups
        return fit_prior(f, labels=self.labels, groups=groups, classes=self.classes, text=self.text)[0]


def experts(task: Task, *, shots: float) -> dict[str, Expert]:
    """Name to fit, by what there is: shots, texts, levels, a pool."""
    found: dict[str, Expert] = {"kernel_ridge": lambda rows: kernel_ridge(task.take(rows))}
    if task.text is not None:
        found["probe"] = lambda rows: probe(task.take(rows))
    if shots >= 2 and task.text is None and not task.big:
        found["linear"] = lambda rows: linear(task.take(rows))
    if shots >= 2:
        found["gda"] = lambda rows: whitened(task.take(rows))
    if shots >= 4 and task.features.levels:
        found["gda_levels"] = lambda rows: on_levels(task.take(rows))
    if task.pool is not None:
        found["pool"] = lambda rows: with_pool(task.take(rows))
    return found


def kernel_ridge(task: Task) -> Part:
    """See `kernel_ridge`."""
    return fit_kernel_ridge(task.features, labels=task.labels, groups=task.groups, classes=task.classes, text=task.text)


def probe(task: Task) -> Part:
    """See `prior_probe`."""
    return fit_prior_probe(task.features, labels=task.labels, groups=task.groups, classes=task.classes, text=task.text)


def linear(task: Task) -> Part:
    """See `linear`; stopped early."""
    return fit_linear(
        task.features,
        labels=task.labels,
        groups=task.groups,
        classes=task.classes,
        text=task.text,
        max_iterations=LINEAR_ITERATIONS,
    )


def on_levels(task: Task) -> Part:
    """See `gda`, on embedding and levels."""
    fitted = fit_gda(task.features, labels=task.labels, groups=task.groups, classes=task.classes)
    return replace(fitted, prior=task.prior)


def whitened(task: Task) -> AffineHead:
    """GDA, and where there is time for it the discriminative refinement that starts there."""
    image, n_classes = task.features.image, len(task.classes)
    if task.big:
        w, b = discriminant(image, labels=task.labels, n_classes=n_classes)
        weights, bias, centre = w.astype(np.float32), b.astype(np.float32), np.zeros(image.shape[1], np.float32)
    else:
        weights, bias, centre = fit_whitened_probe(image, labels=task.labels, n_classes=n_classes)
    return AffineHead(kind="gda", prior=task.prior, centre=centre, weights=weights, bias=bias)


def with_pool(task: Task) -> AffineHead:
    """See `pool`; the rows were chosen before."""
    pool = task.pool if task.pool is not None else task.features.image[:0]
    prior = task.prior
    texts = None if task.text is None else prior.score(Features(image=pool)).logits
    weights, bias, centre = fit_discriminant(
        task.features.image, labels=task.labels, n_classes=len(task.classes), pool=pool, texts=texts
    )
    weight = 0.0 if task.text is None else 1.0
    return AffineHead(kind="pool", prior=prior, prior_weight=weight, centre=centre, weights=weights, bias=bias)
