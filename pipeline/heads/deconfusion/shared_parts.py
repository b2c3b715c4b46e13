"""The class-embedding form of the deconfusion head as settings and tensors, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.heads.deconfusion.fusion import Fusion
from pipeline.heads.deconfusion.head import Prior
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead, SharedSpace
from pipeline.heads.deconfusion.shared_network import FrozenCorrection
from pipeline.heads.metric import Metric
from pipeline.heads.mixed_prior import prior_parts
from pipeline.types import Float32Array

Tensors = dict[str, Float32Array]
Settings = dict[str, Any]

METRIC = ("centre", "span", "gains")
CORRECTION = ("first", "norm_weight", "norm_bias", "second", "class_code")


def shared_to_parts(head: DeconfusionSharedHead) -> tuple[Settings, Tensors]:
    """All but novelty and the gate, which whoever stores the head stores beside."""
    space = head.space
    prior, tensors = prior_parts(head.prior)
    settings: Settings = {
        "kind": head.name,
        "prior": prior,
        "level_dims": list(space.level_dims),
        "within": space.within,
        "n_images": head.n_images.tolist(),
        "outside": space.image.outside,
        "level_outside": None if space.levels is None else space.levels.outside,
    }
    tensors |= {"means": head.means, "text_centre": head.text_centre}
    tensors |= {"level_mean": space.level_mean, "level_gain": space.level_gain}
    tensors |= {f"space.image.{name}": getattr(space.image, name) for name in METRIC}
    if space.levels is not None:
        tensors |= {f"space.levels.{name}": getattr(space.levels, name) for name in METRIC}
    tensors |= {f"correction.{name}": getattr(head.correction, name) for name in CORRECTION}
    return settings, tensors


def shared_from_parts(settings: Settings, *, tensors: Tensors, prior: Prior, fusion: Fusion) -> DeconfusionSharedHead:
    """The head again, without novelty."""
    level_outside = settings["level_outside"]
    return DeconfusionSharedHead(
        prior=prior,
        space=SharedSpace(
            image=_metric("image", tensors=tensors, outside=settings["outside"]),
            levels=None if level_outside is None else _metric("levels", tensors=tensors, outside=level_outside),
            level_mean=tensors["level_mean"],
            level_gain=tensors["level_gain"],
            level_dims=tuple(settings["level_dims"]),
            within=float(settings["within"]),
        ),
        means=tensors["means"],
        n_images=np.asarray(settings["n_images"], np.int64),
        text_centre=tensors["text_centre"],
        correction=FrozenCorrection(**{name: tensors[f"correction.{name}"] for name in CORRECTION}),
        fusion=fusion,
    )


def _metric(name: str, *, tensors: Tensors, outside: float) -> Metric:
    return Metric(**{key: tensors[f"space.{name}.{key}"] for key in METRIC}, outside=float(outside))
