"""A production line in embedding space: unit vectors, class runs, slow wander, a few-shot head, and drifts to inject.

Gaussian clusters with the cosines of real factory pictures under CLIP (0.865 within, 0.82-0.84 between classes).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]
Regime = Literal["iid", "line"]

SHARES = (0.60, 0.12, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02)  # OK, then seven defects
CONFUSABLE = 2  # the defect that looks most like OK
MORE_OF = 4  # the defect whose share goes from 5 to 15 %
LOOK_CHANGE = 3  # the defect that will look almost like OK
NEW_CLASS = -1
N_SHOTS = 16
N_HELD_OUT = 2_000  # frames the temperature is fitted on
RUN_PARTS = 20  # mean length of a class run
WANDER_STEP = 10  # parts between two steps of the wander
CLASS_NORM, LOW_RANK_NORM, ISOTROPIC_SD = 0.213, 0.255, 0.0138  # lengths; per dimension
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large the world is: `full` is the size of the published figures, `ci` a fifth of it."""

    dim: int
    rank: int  # directions of the large noise
    correlation_parts: int
    reference_parts: int
    null_parts: int = 200_000


CI = Size(dim=64, rank=8, correlation_parts=200, reference_parts=60_000)
FULL = Size(dim=512, rank=24, correlation_parts=1_000, reference_parts=300_000)


@dataclass(frozen=True, slots=True)
class Drift:
    """What happens from the first part on. Zero everywhere is the line in control."""

    light: float = 0.0  # length of a common shift; means have length 1
    blur: float = 0.0  # share of all contrast between and within classes that is lost
    new_share: float = 0.0  # share of parts that are of a class nobody knows
    more_share: float | None = None  # new share of the class MORE_OF
    look: float = 0.0  # how far the class LOOK_CHANGE goes towards OK, 0 to 1
    ramp_parts: int = 0  # light grows over so many parts


NONE = Drift()


@dataclass(eq=False)
class Camera:
    """One camera, its classes and its head; everything follows from the seed. Not frozen: the stream goes on."""

    seed: int
    size: Size
    regime: Regime
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng((self.seed, 1))
        D, C, R = self.size.dim, len(SHARES), self.size.rank
        basis = np.linalg.qr(rng.standard_normal((D, R + 1)))[0].T
        self._common = basis[0]
        sds = 0.85 ** np.arange(R)
        self._low_rank = (basis[1:] * (sds * LOW_RANK_NORM / np.linalg.norm(sds))[:, None]).astype(np.float32)
        ends = rng.standard_normal((C + 1, D))
        ends *= CLASS_NORM / np.linalg.norm(ends, axis=1, keepdims=True)
        ends[CONFUSABLE] = 0.62 * ends[0] + 0.38 * ends[CONFUSABLE]
        self._centres = ends[:C].astype(np.float32)  # (C, D), beside the common direction
        self._new_centre = ends[C].astype(np.float32)
        inside = self._low_rank.T @ rng.standard_normal(R)
        outside = rng.standard_normal(D)
        light = inside / np.linalg.norm(inside) + outside / np.linalg.norm(outside)
        self._light = (light / np.linalg.norm(light)).astype(np.float32)
        self._wander_basis = self._low_rank[rng.choice(8, 3, replace=False)]
        self._wander_basis /= np.linalg.norm(self._wander_basis, axis=1, keepdims=True) * np.sqrt(3)
        self._wander = rng.standard_normal(3)
        self._class, self._left = 0, 0
        self._rng = np.random.default_rng((self.seed, 2, 0))
        self._fit_head(np.random.default_rng((self.seed, 3)))

    def branch(self, number: int) -> Camera:
        """The same camera on another day: same classes and head, its stream begun afresh from `number`."""
        other = copy.copy(self)
        other._rng = np.random.default_rng((self.seed, 2, number))
        other._wander = other._rng.standard_normal(3)
        other._class, other._left = 0, 0
        return other

    def parts(self, n: int, *, drift: Drift = NONE) -> tuple[Array, Array, Truth]:
        """The next n parts: embeddings (n, D) float16, calibrated probabilities (n, C), truth (or NEW_CLASS)."""
        pieces = list(self.chunks(n, drift=drift))
        x, p, y = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return x, p, y

    def chunks(self, n: int, *, drift: Drift = NONE) -> Iterator[tuple[Array, Array, Truth]]:
        """The same, piece by piece."""
        for start in range(0, n, CHUNK):
            m = min(CHUNK, n - start)
            truth = self._labels(m, drift)
            x = self._embeddings(truth, drift, start, self._rng)
            yield x, self.probabilities(x), truth

    def shots(self, n: int, *, rng: np.random.Generator) -> tuple[Array, Truth]:
        """n labelled parts of each class, in control."""
        labels = np.repeat(np.arange(len(SHARES)), n)
        return self._embeddings(labels, NONE, 0, rng).astype(np.float32), labels

    def probabilities(self, x: Array) -> Array:
        """(N, D) -> (N, C), calibrated by one temperature."""
        return softmax(self.temperature * (x.astype(np.float32) @ self._weights + self._bias))

    def _embeddings(self, truth: Truth, drift: Drift, start: int, rng: np.random.Generator) -> Array:
        n, D = truth.size, self.size.dim
        centres = np.vstack([self._centres, self._new_centre])
        centres[LOOK_CHANGE] += drift.look * (centres[0] - centres[LOOK_CHANGE])
        x = centres[truth]
        x += rng.standard_normal((n, self.size.rank), dtype=np.float32) @ self._low_rank
        x *= np.float32(1.0 - drift.blur)
        x += rng.standard_normal((n, D), dtype=np.float32) * np.float32(ISOTROPIC_SD)
        x += self._common.astype(np.float32)
        if self.regime == "line":
            x += self._wandering(n, rng)
        grown = np.minimum(1.0, (start + np.arange(n)) / drift.ramp_parts) if drift.ramp_parts else np.ones(n)
        if drift.light:
            x += (drift.light * grown).astype(np.float32)[:, None] * self._light
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x.astype(np.float16)

    def _wandering(self, n: int, rng: np.random.Generator) -> Array:
        """AR(1) of the size's correlation time, amplitude a quarter of the largest noise deviation."""
        rho = float(np.exp(-WANDER_STEP / self.size.correlation_parts))
        steps = np.empty((-(-n // WANDER_STEP), 3))
        noise = np.sqrt(1 - rho**2) * rng.standard_normal(steps.shape)
        for i in range(len(steps)):
            self._wander = rho * self._wander + noise[i]
            steps[i] = self._wander
        amplitude = 0.25 * float(np.linalg.norm(self._low_rank[0]))
        path = (amplitude * steps).astype(np.float32) @ self._wander_basis
        return np.repeat(path, WANDER_STEP, axis=0)[:n]

    def _labels(self, n: int, drift: Drift) -> Truth:
        shares = np.array(SHARES)
        if drift.more_share is not None:
            shares *= (1 - drift.more_share) / (1 - shares[MORE_OF])
            shares[MORE_OF] = drift.more_share
        shares = np.append(shares / shares.sum() * (1 - drift.new_share), drift.new_share)
        names = np.append(np.arange(len(SHARES)), NEW_CLASS)
        if self.regime == "iid":
            return names[self._rng.choice(len(names), n, p=shares)]
        runs = n // RUN_PARTS * 2 + 50
        lengths = self._rng.geometric(1 / RUN_PARTS, runs)
        drawn = names[self._rng.choice(len(names), runs, p=shares)]
        y = np.concatenate([np.full(self._left, self._class), np.repeat(drawn, lengths)])
        while y.size < n:  # cannot happen twice in a lifetime, but a stream must not end
            y = np.concatenate([y, np.repeat(drawn, lengths)])
        ends = np.cumsum(np.concatenate([[self._left], lengths]))
        self._class, self._left = int(y[n - 1]), int(ends[np.searchsorted(ends, n)] - n) if ends[-1] >= n else 0
        return y[:n]

    def _fit_head(self, rng: np.random.Generator) -> None:
        """Ridge on 16 shots a class plus a noisy text prior; temperature on held-out frames by log loss."""
        C = len(SHARES)
        shots = np.repeat(np.arange(C), N_SHOTS)
        x = self._embeddings(shots, NONE, 0, rng).astype(np.float64)
        text = self._centres + 0.5 * CLASS_NORM / np.sqrt(self.size.dim) * rng.standard_normal(self._centres.shape)
        centre = x.mean(axis=0)
        z = x - centre
        targets = np.eye(C)[shots] - 1 / C
        ridge = 0.05 * np.trace(z.T @ z) / self.size.dim
        solve: Callable[..., npt.NDArray[np.float64]] = np.linalg.solve
        weights = solve(z.T @ z + ridge * np.eye(self.size.dim), z.T @ targets) + 0.5 * (text - text.mean(axis=0)).T
        self._weights, self._bias = weights.astype(np.float32), (-centre @ weights).astype(np.float32)
        truth = rng.choice(C, N_HELD_OUT, p=SHARES)
        logits = self._embeddings(truth, NONE, 0, rng).astype(np.float32) @ self._weights + self._bias
        scales = np.geomspace(1, 300, 60)
        self.temperature = np.float32(min(scales, key=lambda t: _log_loss(t * logits, truth)))


def softmax(logits: Array) -> Array:
    """Row by row."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def _log_loss(logits: Array, truth: Truth) -> float:
    return float(-np.log(softmax(logits)[np.arange(truth.size), truth] + 1e-12).mean())
