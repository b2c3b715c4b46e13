"""What each decision costs in money, per true class: the one table a plant edits."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.decision.probabilities import Array
from pipeline.errors import ConfigError
from pipeline.types import Float32Array

REVIEW = "review"  # names the last column in per-pair costs
CURRENCY = re.compile(r"[A-Z]{3}")  # ISO 4217


@dataclass(frozen=True, eq=False)
class CostMatrix:
    """Money per part, by what the part is (row) and what is done with it (column): a class, or a person looks."""

    classes: tuple[str, ...]
    good_classes: frozenset[str]
    array: Array  # (C, C + 1), cost[true, decided class or review]
    currency: str = "EUR"

    def __post_init__(self) -> None:
        c = len(self.classes)
        if self.array.shape != (c, c + 1):
            raise ConfigError(f"costs: expected an array of {c} x {c + 1}, got {self.array.shape}")
        bad = np.argwhere(~(np.isfinite(self.array) & (self.array >= 0)))
        if bad.size:
            true, decided = (int(i) for i in bad[0])
            what = f"{self.classes[true]} decided as {(*self.classes, REVIEW)[decided]}"
            raise ConfigError(
                f"costs: expected finite amounts of 0 or more, got {self.array[true, decided]} for {what}; "
                "state what one such part costs"
            )
        if not CURRENCY.fullmatch(self.currency):
            raise ConfigError(f"costs.currency: expected three capital letters like EUR, got {self.currency!r}")

    @classmethod
    def build(
        cls,
        classes: Sequence[str],
        *,
        good_classes: Collection[str],
        escape: float,
        overkill: float,
        mix_up: float,
        review: float,
        pairs: Mapping[str, Mapping[str, float]] | None = None,
        currency: str = "EUR",
    ) -> CostMatrix:
        """From four amounts, and per pair {true: {decided: cost}} where one differs; decided may be "review".

        Escape: a defect taken for good. Overkill: a good part taken for a defect. Mix-up: one good class, or one
        defect, taken for another. The right class costs nothing unless a pair says so. Raises ConfigError.
        """
        names = tuple(classes)
        _check_names(names, good_classes=good_classes, pairs=pairs or {})
        good = np.array([name in good_classes for name in names])
        across = np.where(good[:, None], overkill, escape)  # by the true class
        array = np.where(good[:, None] == good[None, :], mix_up, across).astype(np.float64)
        np.fill_diagonal(array, 0.0)
        array = np.concatenate([array, np.full((len(names), 1), review, np.float64)], axis=1)
        columns = {name: i for i, name in enumerate((*names, REVIEW))}
        for true, row in (pairs or {}).items():
            for decided, cost in row.items():
                array[columns[true], columns[decided]] = cost
        return cls(classes=names, good_classes=frozenset(good_classes), array=array, currency=currency)

    def expected(self, probabilities: Float32Array) -> Float32Array:
        """(n, C) -> (n, C + 1): what each decision would cost on average, review last."""
        out: Float32Array = probabilities @ self.array.astype(np.float32)
        return out

    @property
    def dearest_error(self) -> Array:
        """(C,) per decided class the largest cost it can have on a part of another class."""
        wrong = self.array[:, :-1].copy()
        np.fill_diagonal(wrong, -math.inf)
        out: Array = wrong.max(axis=0)
        return out


def _check_names(
    names: tuple[str, ...], *, good_classes: Collection[str], pairs: Mapping[str, Mapping[str, float]]
) -> None:
    if REVIEW in names:
        raise ConfigError(f"costs: expected no class called {REVIEW!r}, which names the decision; rename the class")
    if len(names) < 2:
        raise ConfigError(f"costs: expected at least two classes, got {len(names)}")
    decided = {name for row in pairs.values() for name in row}
    unknown = sorted((set(good_classes) | set(pairs) | (decided - {REVIEW})) - set(names))
    if unknown:
        raise ConfigError(
            f"costs: expected classes of the head ({', '.join(names)}) or {REVIEW}, got {', '.join(unknown)}; "
            "correct good_classes and pairs"
        )
