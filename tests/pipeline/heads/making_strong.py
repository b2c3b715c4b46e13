"""The strong simple heads fitted on one small synthetic world, for their tests and the contract."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.heads.auto.blend import BlendHead
from pipeline.heads.auto.policy import fit_auto
from pipeline.heads.auto.pool import fit_pool_head
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.gda import fit_gda
from pipeline.heads.simple.kernel_heads import KernelHead
from pipeline.heads.simple.kernel_ridge import fit_kernel_ridge
from pipeline.heads.simple.linear import fit_linear
from pipeline.heads.simple.prior_probe import fit_prior_probe
from pipeline.heads.simple.tip_adapter import fit_tip_adapter
from pipeline.interfaces import Head
from pipeline.types import Features, Float32Array
from tests.pipeline.heads.making_heads import World

FITS = {
    "linear": fit_linear,
    "probe": fit_prior_probe,
    "gda": fit_gda,
    "kernel_ridge": fit_kernel_ridge,
    "tip": fit_tip_adapter,
}
ACROSS = {"AffineHead": AffineHead, "KernelHead": KernelHead, "BlendHead": BlendHead}


def pool_of(world: World, *, per_class: int | list[int] = 20, seed: int = 9) -> Float32Array:
    """Rows whose labels nobody keeps."""
    return world.draw(per_class, seed=seed).features.image


@cache
def strong(name: str) -> tuple[Head, Features]:
    """A fitted head and 33 rows it has not seen."""
    with_levels = name in ("gda with levels", "auto")
    world = World(levels=with_levels, seed=4)
    support, text = world.draw(6), None if name == "probe without texts" else world.text
    known = {"labels": support.labels, "groups": support.groups, "classes": support.classes}
    queries = world.draw(6, seed=2).features
    rows = Features(image=queries.image[:33], levels=tuple(level[:33] for level in queries.levels))
    if name == "pool":
        return fit_pool_head(support.features, **known, pool=pool_of(world), text=text)[0], rows
    if name == "auto":
        return fit_auto(support.features, **known, pool=pool_of(world)).head, rows
    return FITS[name.split(" ", maxsplit=1)[0]](support.features, **known, text=text), rows


def reloaded(head: Head) -> Head:
    """The head from its own settings and tensors."""
    kind = ACROSS[type(head).__name__]
    tensors = {k: np.array(v) for k, v in head.tensors().items()}  # type: ignore[attr-defined]
    return kind.from_tensors(head.settings(), tensors=tensors, classes=head.classes, novelty=head.novelty)  # type: ignore[attr-defined]
