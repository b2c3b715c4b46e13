"""What a decision costs given the truth, as the gate counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CostMatrix:
    """cost[true class, decided class or review]; the last column is review (unknown parts count as review)."""

    values: npt.NDArray[np.float64]  # (C, C+1), >= 0, in any unit of money
    good: tuple[bool, ...]  # per class: is it accepted?

    def __post_init__(self) -> None:
        shape, n = self.values.shape, len(self.good)
        if shape != (n, n + 1):
            raise ConfigError(f"costs: expected an array of ({n}, {n + 1}) for {n} classes and review, got {shape}")
        if not np.isfinite(self.values).all() or self.values.min() < 0 or self.values.max() <= 0:
            raise ConfigError(
                "costs: expected finite numbers from 0 up, one above 0, got others; state what errors cost"
            )
        if all(self.good) or not any(self.good):
            raise ConfigError("costs: expected good and defect classes, got one kind only; name the good classes")

    @property
    def review(self) -> int:
        """Column of review."""
        return len(self.good)

    def loss(self, truth: int, *, decided: int) -> float:
        """What this decision costs on a part that is `truth`."""
        return float(self.values[truth, decided])

    def gain(self, truth: int, *, champion: int, challenger: int) -> float:
        """(champion's loss - challenger's loss) / largest cost, in [-1, 1]; above 0 the challenger costs less."""
        return float((self.values[truth, champion] - self.values[truth, challenger]) / self.values.max())

    def escapes(self, truth: int, *, decided: int) -> bool:
        """Whether a defect is accepted."""
        return not self.good[truth] and decided < len(self.good) and self.good[decided]

    def accepts(self, decided: int) -> bool:
        """Whether the part goes on to the customer."""
        return decided < len(self.good) and self.good[decided]


def build_costs(
    classes: Sequence[str], *, good_classes: Sequence[str], escape: float, overkill: float, mix_up: float, review: float
) -> CostMatrix:
    """Costs from four numbers: a mix-up is a wrong class on the right side of accept or reject; right costs 0."""
    unknown = set(good_classes) - set(classes)
    if unknown:
        raise ConfigError(f"costs: expected good classes among {', '.join(classes)}, got {', '.join(sorted(unknown))}")
    good = tuple(name in set(good_classes) for name in classes)
    values = np.full((len(classes), len(classes) + 1), mix_up, np.float64)
    for truth, truth_good in enumerate(good):
        for decided, decided_good in enumerate(good):
            if truth_good != decided_good:
                values[truth, decided] = overkill if truth_good else escape
    np.fill_diagonal(values, 0.0)
    values[:, -1] = review
    values.setflags(write=False)
    return CostMatrix(values, good)
