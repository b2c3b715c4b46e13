"""Synthetic lines, heads and labels for the gate: clusters on a sphere, ridge heads, honest and poisoned labels.

Gaussian clusters are the best case for any head; they rank gates, they predict no plant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.adaptation.gate.costs import CostMatrix, build_costs
from pipeline.adaptation.gate.values import Honeypot, LabelBatch, LabelledPart, LabelStream

CLASSES = ("ok", *(f"defect-{k}" for k in range(1, 8)))
SHARES = np.array([0.60, 0.12, 0.08, 0.06, 0.05, 0.03, 0.03, 0.03])
DIMENSIONS = 64
SHOTS = 16
NOISE = 1.8
LIGHT = 0.25
COSTS = build_costs(CLASSES, good_classes=("ok",), escape=10.0, overkill=1.0, mix_up=1.0, review=0.2)
PLAIN_COSTS = build_costs(CLASSES, good_classes=("ok",), escape=1.0, overkill=1.0, mix_up=1.0, review=0.2)
SCENARIOS = ("none", "light", "blur", "share", "defect look")
LABELLERS = ("ann", "ben", "cem")


@dataclass(frozen=True)
class Camera:
    """One camera's truth: class centres, noise directions, and what drift would do to them."""

    centres: np.ndarray  # (C, D)
    directions: np.ndarray  # (D, D), scaled noise directions
    light: np.ndarray  # (D,)
    new_look: np.ndarray  # (D,) centre of defect 1 after its change


@dataclass(frozen=True)
class Parts:
    """n parts as the encoder sees them."""

    x: np.ndarray  # (n, D), unit norm
    truth: np.ndarray  # (n,)


@dataclass(frozen=True)
class RidgeHead:
    """Linear head with a sure-ness: softmax of its scaled scores."""

    weights: np.ndarray  # (D + 1, C)
    scale: float = 12.0

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        scores = self.scale * (x @ self.weights[:-1] + self.weights[-1])
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def decide(self, x: np.ndarray) -> np.ndarray:
        return (x @ self.weights[:-1] + self.weights[-1]).argmax(axis=1)


def make_camera(seed: int) -> Camera:
    rng = np.random.default_rng([seed, 1])
    base = unit(rng.normal(size=DIMENSIONS))
    offsets = rng.normal(size=(len(CLASSES), DIMENSIONS)) / np.sqrt(DIMENSIONS)
    offsets[1] = 0.45 * offsets[1] + 0.55 * offsets[0]  # the defect one takes for good
    scales = np.concatenate([NOISE * np.geomspace(0.12, 0.04, 12), NOISE * np.full(DIMENSIONS - 12, 0.025)])
    rotation, _ = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))
    look = 0.55 * offsets[1] + 0.45 * offsets[0] + 0.35 * rng.normal(size=DIMENSIONS) / np.sqrt(DIMENSIONS)
    return Camera(
        centres=base + 0.42 * offsets,
        directions=scales[:, None] * rotation,
        light=LIGHT * unit(rng.normal(size=DIMENSIONS)),
        new_look=base + 0.42 * look,
    )


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def draw(camera: Camera, *, n: int, rng: np.random.Generator, scenario: str = "none", run_length: int = 1) -> Parts:
    """n parts of the line; with `run_length` above 1 the class stays for about so many parts."""
    shares = SHARES.copy()
    if scenario == "share":
        shares[0], shares[1] = shares[0] - 0.1, shares[1] + 0.1
    starts = rng.random(n) < 1.0 / run_length
    truth = rng.choice(len(CLASSES), size=n, p=shares)[np.maximum.accumulate(np.where(starts, np.arange(n), 0))]
    return place(camera, truth=truth, rng=rng, scenario=scenario)


def place(camera: Camera, *, truth: np.ndarray, rng: np.random.Generator, scenario: str = "none") -> Parts:
    centres = camera.centres.copy()
    if scenario == "defect look":
        centres[1] = camera.new_look
    x = centres[truth] + rng.normal(size=(len(truth), DIMENSIONS)) @ camera.directions
    if scenario == "light":
        x = x + camera.light
    if scenario == "blur":
        mean = SHARES @ camera.centres
        x = mean + 0.62 * (x - mean) + 0.02 * rng.normal(size=x.shape)
    return Parts(unit(x), truth)


def fit(x: np.ndarray, labels: np.ndarray, *, ridge: float = 0.05) -> RidgeHead:
    """Ridge regression on one-hot labels: what is common among them is favoured, as any plain retrain does."""
    design = np.hstack([x, np.ones((len(x), 1))])
    gram = design.T @ design + ridge * np.eye(design.shape[1])
    return RidgeHead(np.linalg.solve(gram, design.T @ np.eye(len(CLASSES))[labels]))


def support(camera: Camera, *, rng: np.random.Generator, shots: int = SHOTS) -> Parts:
    return place(camera, truth=np.repeat(np.arange(len(CLASSES)), shots), rng=rng)


@dataclass(frozen=True)
class Case:
    """A champion that drift has hit, and what a challenger may be taught with."""

    camera: Camera
    scenario: str
    support: Parts
    champion: RidgeHead
    pool: Parts  # unlabelled stream after the drift
    seed: int

    def rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])


def make_case(seed: int, *, scenario: str, pool: int = 4000) -> Case:
    camera = make_camera(seed)
    rng = np.random.default_rng([seed, 2, SCENARIOS.index(scenario)])
    shots = support(camera, rng=rng)
    return Case(
        camera, scenario, shots, fit(shots.x, shots.truth), draw(camera, n=pool, rng=rng, scenario=scenario), seed
    )


POISONS = ("all ok", "class swap", "random", "one labeller")


def poison(truth: np.ndarray, *, how: str, rng: np.random.Generator, labeller: np.ndarray) -> np.ndarray:
    """Labels as they come back from a careless or hostile desk."""
    if how == "honest":
        return truth.copy()
    if how == "all ok":
        return np.zeros_like(truth)
    if how == "random":
        return rng.integers(0, len(CLASSES), size=len(truth))
    if how == "class swap":
        exchanged = truth.copy()
        exchanged[truth == 1], exchanged[truth == 2] = 2, 1
        return exchanged
    return np.where(labeller == 0, rng.integers(0, len(CLASSES), size=len(truth)), truth)


def choose(case: Case, *, n: int, margin: bool, purpose: int) -> np.ndarray:
    """Rows of the pool to label: at random, or those the champion is least sure of."""
    if not margin:
        return case.rng(purpose).choice(len(case.pool.truth), size=n, replace=False)
    ranked = np.sort(case.champion.probabilities(case.pool.x), axis=1)
    return np.argsort(ranked[:, -1] - ranked[:, -2])[:n]


@dataclass(frozen=True)
class Taught:
    """A challenger and the batch of labels that made it."""

    head: RidgeHead
    batch: LabelBatch


def teach(case: Case, *, how: str, margin: bool = False, n: int = 64) -> Taught:
    rng = case.rng(100 + 10 * ("honest", *POISONS).index(how) + margin)
    rows = choose(case, n=n, margin=margin, purpose=7)
    labeller = rng.integers(0, len(LABELLERS), size=n + 8)
    x, truth = case.pool.x[rows], case.pool.truth[rows]
    given = poison(truth, how=how, rng=rng, labeller=labeller[:n])
    head = fit(np.vstack([case.support.x, x]), np.concatenate([case.support.truth, given]))
    batch = batch_of(case, x=x, given=given, labeller=labeller[:n])
    return Taught(head, replace(batch, honeypots=honeypots(how=how, rng=rng, labeller=labeller[n:])))


def batch_of(case: Case, *, x: np.ndarray, given: np.ndarray, labeller: np.ndarray) -> LabelBatch:
    probabilities, near = case.champion.probabilities(x), neighbours(case.support, x=x)
    decided, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    parts = tuple(
        LabelledPart(
            event_id=f"teach-{i}", truth=int(given[i]), labeller=LABELLERS[labeller[i]], stream=LabelStream.TEACH,
            champion=int(decided[i]), champion_confidence=float(sure[i]), neighbour=near[i],
        )
        for i in range(len(given))
    )  # fmt: skip
    return LabelBatch("teach", parts)


def honeypots(*, how: str, rng: np.random.Generator, labeller: np.ndarray) -> tuple[Honeypot, ...]:
    """One of each class, answered as the batch is."""
    truth = np.arange(len(CLASSES))
    given = poison(truth, how=how, rng=rng, labeller=labeller)
    return tuple(Honeypot(f"honey-{k}", k, int(given[k]), LABELLERS[labeller[k]]) for k in range(len(CLASSES)))


def neighbours(support: Parts, *, x: np.ndarray, k: int = 5) -> list[int | None]:
    """Class of at least four of the five nearest support parts, else None."""
    nearest = support.truth[np.argsort(-(x @ support.x.T), axis=1)[:, :k]]
    counts = np.stack([np.bincount(row, minlength=len(CLASSES)) for row in nearest])
    return [int(row.argmax()) if row.max() >= k - 1 else None for row in counts]


@dataclass(frozen=True)
class HeadFigures:
    """A head on fresh parts."""

    accuracy: float
    escape: float  # of defects
    cost: float  # per part


def figures(head: RidgeHead, *, parts: Parts, costs: CostMatrix = COSTS) -> HeadFigures:
    decided = head.decide(parts.x)
    defect = parts.truth != 0
    return HeadFigures(
        accuracy=float((decided == parts.truth).mean()),
        escape=float((decided[defect] == 0).mean()),
        cost=float(costs.values[parts.truth, decided].mean()),
    )
