"""How a head was fitted, kept in its bundle, and the fit itself: what `head fit` and `head rebuild` have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.evidence import Evidence, SupportIndex
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, Material
from pipeline.types import Float32Array
from workers.commands.head_support import OpenedSupport


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a fit besides its labelled rows and texts, whose hashes the provenance has."""

    kind: str
    fusion: str = "beta"
    tune: bool = False
    seed: int = 0
    shots: int | None = None
    pool_sha256: str | None = None  # of the unlabelled rows

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def recipe_of(plain: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe in a bundle's provenance. Raises DataError where it has none."""
    known = {one.name for one in fields(Recipe)}
    if "kind" not in plain or not set(plain) <= known:
        raise DataError(
            f"{where}: expected a head that says how it was fitted, got one of an older version; fit it again"
        )
    return Recipe(**plain)


def pool_sha256(pool: Float32Array | None) -> str | None:
    """Of the rows as they are fitted on."""
    return None if pool is None else hashlib.sha256(np.ascontiguousarray(pool).tobytes()).hexdigest()


def fit_recipe(
    opened: OpenedSupport,
    *,
    recipe: Recipe,
    pool: Float32Array | None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> FittedHead:
    """Fit on opened pictures; the same in, the same out. Raises DataError. Blocks."""
    texts = opened.texts
    return fit_head(
        opened.support.features,
        material=Material(text=texts.names, coder=texts.coder, pool=pool),
        kind=recipe.kind,
        fusion=recipe.fusion,
        tune=recipe.tune,
        seed=recipe.seed,
        on_progress=on_progress,
    )


def evidence_of(opened: OpenedSupport, *, fitted: FittedHead) -> Evidence:
    """What the bundle keeps beside the head."""
    labelled = opened.support.features
    names = tuple(f"{path.parent.name}/{path.name}" for path in opened.support.files)
    return Evidence(
        held_out=fitted.held_out,
        support=SupportIndex(labelled.features.image, labelled.labels, names),
        texts=opened.texts.index,
    )
