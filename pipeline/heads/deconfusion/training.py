"""Fits the deconfusion network on labelled features: closed-form start, then a short AdamW run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pipeline.heads.deconfusion.network import DeconfusionNetwork, NetworkShape
from pipeline.heads.optimise import AdamW, denormals_flushed
from pipeline.heads.simple.probe import fit_probe
from pipeline.heads.whitening import TINY, Labels, Span, Whitener, fit_span, fit_whitener
from pipeline.types import Float32Array

LEARNING_RATE = 1e-3  # the published 1e-4 leaves the MAF expert nearly untrained in float32
WEIGHT_DECAY = 1e-4
EPOCHS = 10  # as good as 50 in the sensitivity study
BATCH_SIZE = 256
MIN_STEPS = 80  # small support sets have one batch per epoch
SPREAD_FLOOR = 0.1  # of a level's median spread: a value that hardly varies is not blown up to unit spread


@dataclass(frozen=True, eq=False)
class FitRows:
    """Labelled rows in the form the network takes."""

    image: Float32Array  # (N, D)
    levels: Float32Array  # (N, sum of level dims), standardised; (N, 0) without levels
    labels: Labels  # (N,)
    groups: Labels  # (N,), number of the source image

    def take(self, rows: Labels) -> FitRows:
        """Some of the rows."""
        return FitRows(self.image[rows], self.levels[rows], self.labels[rows], self.groups[rows])


@dataclass(frozen=True, eq=False)
class LabelFree:
    """What is computed once from all rows without their labels, so that folds may share it."""

    level_dims: tuple[int, ...]
    level_mean: Float32Array  # (sum of level dims,)
    level_gain: Float32Array
    image_span: Span
    level_span: Span | None


def prepare(
    image: Float32Array, *, levels: tuple[Float32Array, ...], labels: Labels, groups: Labels
) -> tuple[FitRows, LabelFree]:
    """Standardises the levels and finds the directions the rows lie in."""
    dims = tuple(level.shape[1] for level in levels)
    joined = np.concatenate(levels, axis=1).astype(np.float32) if levels else np.zeros((image.shape[0], 0), np.float32)
    mean, gain = _standardise(joined, dims=dims)
    standard = (joined - mean) * gain
    free = LabelFree(
        level_dims=dims,
        level_mean=mean,
        level_gain=gain,
        image_span=fit_span(image),
        level_span=fit_span(standard) if levels else None,
    )
    return FitRows(image=image, levels=standard, labels=labels, groups=groups), free


def _standardise(joined: Float32Array, *, dims: tuple[int, ...]) -> tuple[Float32Array, Float32Array]:
    mean, spread = joined.mean(axis=0), joined.std(axis=0)
    gains = []
    start = 0
    for dim in dims:
        part = spread[start : start + dim]
        floor = np.float32(max(SPREAD_FLOOR * float(np.median(part)), TINY * 1e6))
        gains.append(1.0 / (np.maximum(part, floor) * math.sqrt(dim)))  # every level weighs the same
        start += dim
    gain = np.concatenate(gains) if gains else np.zeros(0)
    return mean.astype(np.float32), gain.astype(np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on the calling thread alone: the products are small, and workers that wait for each other cost more."""
    n_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_before)


def fit_network(
    rows: FitRows,
    *,
    free: LabelFree,
    prior: Float32Array,
    n_classes: int,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> DeconfusionNetwork:
    """The network fitted on `rows`; `prior` (N, C) are their zero-shot or leave-one-out logits. Deterministic."""
    with denormals_flushed(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _start(rows, free=free, prior=prior, n_classes=n_classes)
        _train(network, rows=rows, prior=prior, on_step=on_step)
    return network.requires_grad_(False).eval()


def _start(rows: FitRows, *, free: LabelFree, prior: Float32Array, n_classes: int) -> DeconfusionNetwork:
    labels = rows.labels
    whiteners = [fit_whitener(rows.image, labels=labels, n_classes=n_classes, span=free.image_span)]
    if free.level_span is not None:
        whiteners.append(fit_whitener(rows.levels, labels=labels, n_classes=n_classes, span=free.level_span))
    share = np.float32(1.0 / math.sqrt(len(whiteners)))
    whiteners = [Whitener(centre=w.centre, basis=w.basis * share) for w in whiteners]
    inputs = [rows.image, rows.levels][: len(whiteners)]
    x = np.concatenate([w.apply(a) for w, a in zip(whiteners, inputs, strict=True)], axis=1)
    weight, bias = fit_probe(x, labels=labels, n_classes=n_classes)
    shape = NetworkShape(
        n_classes=n_classes,
        embedding_dim=rows.image.shape[1],
        level_dims=free.level_dims,
        image_rank=whiteners[0].basis.shape[1],
        level_rank=whiteners[1].basis.shape[1] if len(whiteners) > 1 else 0,
    )
    network = DeconfusionNetwork(shape)
    tensors = {
        "image_centre": whiteners[0].centre,
        "image_basis": whiteners[0].basis,
        "linear_weight": weight,
        "linear_bias": bias,
        "prior_gain": np.float32(1.0 / max(float((prior - prior.mean(axis=1, keepdims=True)).std()), 1e-6)),
    }
    if len(whiteners) > 1:
        basis = whiteners[1].basis
        tensors |= {"level_basis": basis, "level_offset": whiteners[1].centre @ basis}
        tensors |= {"level_mean": free.level_mean, "level_gain": free.level_gain}
    state = network.state_dict() | {k: torch.as_tensor(np.asarray(v)).clone() for k, v in tensors.items()}
    network.load_state_dict(state)
    return network


def _train(network: DeconfusionNetwork, *, rows: FitRows, prior: Float32Array, on_step: Callable[[], None]) -> None:
    """CE(m) + CE(r) + 1/K (mean|m - m_0| + mean|r - s|), all on centred logits; m_0 is the closed-form start."""
    image, levels, s = (torch.from_numpy(np.ascontiguousarray(a)) for a in (rows.image, rows.levels, prior))
    y = torch.from_numpy(rows.labels)
    shots = max(1.0, float(np.median(np.unique(rows.labels, return_counts=True)[1])))
    x = network.whitened(image, levels)  # (N, R)
    n = y.shape[0]
    per_epoch = math.ceil(n / BATCH_SIZE)
    n_steps = max(MIN_STEPS, EPOCHS * per_epoch)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = AdamW(parameters, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, n_steps=n_steps)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(n_steps):
        if order.numel() == 0:
            order = torch.randperm(n)
        batch, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        parts = network.experts(x[batch], levels=levels[batch], prior=s[batch])
        r = parts.prior + parts.correction
        m = parts.maf + parts.maf_residual
        fit = functional.cross_entropy(m, y[batch]) + functional.cross_entropy(r, y[batch])
        similarity = parts.maf_residual.abs().mean() + parts.correction.abs().mean()
        optimiser.step(fit + similarity / shots)
        on_step()
