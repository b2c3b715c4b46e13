"""Quality as a plant charts it, from delivered verdicts: rejects with limits, accuracy with bounds, expected cost."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.adaptation.drift.spc import ShareBounds, clopper_pearson, laney_limits
from pipeline.decision import Decider
from pipeline.decision.costs import CostMatrix
from pipeline.types import Decision, Float32Array, Prediction
from workers.metrics.registry import Reading

SUBGROUP_PARTS = 500  # at 1 % of rejects five in each, the least that binomial limits bear
N_SUBGROUPS = 50  # before the newest, that its limits are made from
LEAST_SUBGROUPS = 8  # below, the moving range says too little about the variation between subgroups
N_KNOWN = 2_000  # newest parts of known truth, per camera; also bounds the work of a scrape


@dataclass(slots=True)
class _Camera:
    n: int = 0  # parts of the subgroup that is being filled
    rejects: int = 0
    subgroups: deque[int] = field(default_factory=lambda: deque(maxlen=N_SUBGROUPS + 1))  # rejects of each full one
    right: deque[bool] = field(default_factory=lambda: deque(maxlen=N_KNOWN))  # labels of parts of known truth


class Quality:
    """`add` belongs to the thread that delivers; `readings` may be called from any."""

    def __init__(self, *, on_cost: Callable[[str, str, float], None], subgroup_parts: int = SUBGROUP_PARTS) -> None:
        """`on_cost(source_id, currency, amount)` is told what verdicts are expected to cost, where costs are given."""
        self._on_cost = on_cost
        self._subgroup_parts = subgroup_parts
        self._cameras: dict[str, _Camera] = {}
        self._lock = threading.Lock()

    def add(self, predictions: Sequence[Prediction], *, decider: Decider) -> None:
        """Delivered predictions; truth is known where it came with the picture (simulator, labelled folder)."""
        with self._lock:
            for one in predictions:
                self._count(self._cameras.setdefault(one.ref.source_id, _Camera()), one)
        if decider.policy.costs is not None:
            own = [one for one in predictions if (one.head, one.head_version) == _version(decider)]
            self._cost(own, costs=decider.policy.costs)

    def readings(self) -> Iterator[Reading]:
        """Gauges of all cameras at this moment."""
        with self._lock:
            taken = {
                source: (list(one.subgroups), sum(one.right), len(one.right)) for source, one in self._cameras.items()
            }
        for source, (subgroups, n_right, n_known) in taken.items():
            yield from self._chart(source, subgroups=subgroups)
            if n_known:
                yield from _accuracy(source, bounds=clopper_pearson(n_right, n=n_known))

    def _count(self, camera: _Camera, one: Prediction) -> None:
        if one.ref.truth is not None:
            camera.right.append(one.label == one.ref.truth)
        camera.n += 1
        camera.rejects += one.decision is Decision.REJECT
        if camera.n == self._subgroup_parts:
            camera.subgroups.append(camera.rejects)
            camera.n = camera.rejects = 0

    def _chart(self, source: str, *, subgroups: Sequence[int]) -> Iterator[Reading]:
        """The newest subgroup against the limits of those before it; all have the same size."""
        if not subgroups:
            return
        yield Reading("spc_value_ratio", (source,), subgroups[-1] / self._subgroup_parts)
        before = subgroups[:-1]
        if len(before) < LEAST_SUBGROUPS:
            return
        limits = laney_limits(before, inspected=[self._subgroup_parts] * len(before))
        yield Reading("spc_center_ratio", (source,), limits.centre)
        yield Reading("spc_limit_ratio", (source, "low"), float(limits.low[-1]))
        yield Reading("spc_limit_ratio", (source, "high"), float(limits.high[-1]))

    def _cost(self, predictions: Sequence[Prediction], *, costs: CostMatrix) -> None:
        if not predictions:
            return
        probabilities = np.array([list(one.probabilities.values()) for one in predictions], np.float32)  # (n, C)
        amounts = expected_cost(probabilities, decisions=[one.decision for one in predictions], costs=costs)
        for one, amount in zip(predictions, amounts.tolist(), strict=True):
            self._on_cost(one.ref.source_id, costs.currency, amount)


def expected_cost(probabilities: Float32Array, *, decisions: Sequence[Decision], costs: CostMatrix) -> Float32Array:
    """(n, C) -> (n,): what each decision costs on average; unknown parts go to a person, as reviews do."""
    expected = costs.expected(probabilities)  # (n, C + 1)
    good = np.array([name in costs.good_classes for name in costs.classes])
    accepted, rejected = (np.where(side, expected[:, :-1], np.inf).min(axis=1) for side in (good, ~good))
    accepts, rejects = (np.array([one is kind for one in decisions]) for kind in (Decision.ACCEPT, Decision.REJECT))
    out: Float32Array = np.where(accepts, accepted, np.where(rejects, rejected, expected[:, -1]))
    return out


def _version(decider: Decider) -> tuple[str, int]:
    return decider.identity.name, decider.identity.version


def _accuracy(source: str, *, bounds: ShareBounds) -> Iterator[Reading]:
    for bound, value in (("lower", bounds.low), ("point", bounds.point), ("upper", bounds.high)):
        yield Reading("accuracy_ratio", (source, bound), value)
