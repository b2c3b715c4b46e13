"""How a head was fitted, kept in its bundle: with its labelled rows and texts, enough to fit it again to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.errors import BundleError
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.types import Features, Float32Array


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides a fit besides its labelled rows and texts, whose hashes the provenance has."""

    kind: str
    fusion: str = "beta"
    tune: bool = False
    seed: int = 0
    shots: int | None = None  # pictures per class at most
    embedding_alone: bool = False  # levels, where there are any, were left out
    pool_sha256: str | None = None  # of the unlabelled rows, see `rows_sha256`

    def to_json(self) -> dict[str, Any]:
        """Plain values; `recipe_of` gives the same again."""
        return asdict(self)


def recipe_of(plain: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe in a bundle's provenance. Raises BundleError where it has none, or one this version cannot follow."""
    known = {one.name for one in fields(Recipe)}
    if "kind" not in plain or not set(plain) <= known:
        got = ", ".join(sorted(set(plain) - known)) or "nothing"
        raise BundleError(f"{where}: expected a head that says how it was fitted, got {got}; fit it again")
    return Recipe(**plain)


def rows_sha256(rows: Float32Array | None) -> str | None:
    """Of unlabelled rows as they are fitted on."""
    return None if rows is None else hashlib.sha256(np.ascontiguousarray(rows, np.float32).tobytes()).hexdigest()


def fit_recipe(
    support: LabelledFeatures,
    *,
    material: Material,
    recipe: Recipe,
    on_progress: Callable[[float], None] = lambda _: None,
) -> FittedHead:
    """Fit as the recipe says; the same in, the same out. Raises DataError. Blocks."""
    features = Features(image=support.features.image) if recipe.embedding_alone else support.features
    return fit_head(
        LabelledFeatures(features, support.labels, support.groups, support.classes),
        material=material,
        kind=recipe.kind,
        fusion=recipe.fusion,
        tune=recipe.tune,
        seed=recipe.seed,
        on_progress=on_progress,
    )
