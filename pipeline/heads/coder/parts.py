"""CODER heads to settings and tensors, and back: what a bundle stores."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import BundleError
from pipeline.heads.coder.coding import Form, TextRows, class_sums
from pipeline.heads.coder.gram import TextGram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.coder.rerank import PairVectors
from pipeline.types import Float32Array

Tensors = dict[str, Float32Array]
Settings = dict[str, Any]


def coder_to_parts(head: CoderHead | CoderAdapterHead) -> tuple[Settings, Tensors]:
    """Settings (plain values) and tensors (float32, which holds class numbers exactly), without novelty."""
    prior = head.prior if isinstance(head, CoderAdapterHead) else head
    settings: Settings = {
        "kind": head.name,
        "coder": {
            "form": prior.form.value,
            "scale": prior.scale,
            "theta": prior.theta,
            "gamma": prior.gamma,
            "top_k": prior.top_k,
            "sentences": list(prior.sentences),
        },
    }
    tensors: dict[str, Any] = {
        "coder.texts": prior.texts.vectors,
        "coder.class_of": prior.texts.class_of,
        "coder.kind_of": prior.texts.kind_of,
        "coder.weights": prior.weights,
    }
    if prior.mean_code is not None:
        tensors["coder.mean_code"] = prior.mean_code
    if prior.pairs is not None:
        tensors |= {"coder.pairs": prior.pairs.difference, "coder.pair_of": prior.pairs.pair_of}
    if isinstance(head, CoderAdapterHead):
        gram = head.gram
        settings["adapter"] = {"form": head.form.value, "alpha": head.alpha, "beta": head.beta, "count": gram.count}
        tensors |= {"adapter.gram": gram.gram, "adapter.total": gram.total}
        tensors |= {"adapter.key_image": head.key_image, "adapter.key_class": head.key_class}
    return settings, {k: np.ascontiguousarray(v, dtype=np.float32).copy() for k, v in tensors.items()}


def coder_from_parts(settings: Settings, *, tensors: Tensors, classes: tuple[str, ...]) -> CoderHead | CoderAdapterHead:
    """The head again; raises BundleError on another kind, KeyError on a missing part."""
    if settings["kind"] not in ("coder", "coder_adapter"):
        raise BundleError(f"expected a head of kind coder or coder_adapter, got {settings['kind']!r}; update Clearline")
    prior = _coder(settings["coder"], tensors=tensors, classes=classes)
    if settings["kind"] == "coder":
        return prior
    plain = settings["adapter"]
    return CoderAdapterHead(
        prior=prior,
        gram=TextGram(tensors["adapter.gram"], tensors["adapter.total"], int(plain["count"])),
        key_image=tensors["adapter.key_image"],
        key_class=tensors["adapter.key_class"].astype(np.int64),
        alpha=float(plain["alpha"]),
        beta=float(plain["beta"]),
        form=Form(plain["form"]),
    )


def _coder(plain: Settings, *, tensors: Tensors, classes: tuple[str, ...]) -> CoderHead:
    texts = TextRows(
        tensors["coder.texts"],
        tensors["coder.class_of"].astype(np.int64),
        tensors["coder.kind_of"].astype(np.int64),
        len(classes),
    )
    pairs = None
    if "coder.pairs" in tensors:
        pairs = PairVectors(tensors["coder.pairs"], tensors["coder.pair_of"].astype(np.int64), len(classes))
    return CoderHead(
        classes=classes,
        texts=texts,
        weights=tensors["coder.weights"],
        sums=class_sums(texts, weights=tensors["coder.weights"]),
        form=Form(plain["form"]),
        scale=float(plain["scale"]),
        pairs=pairs,
        theta=float(plain["theta"]),
        gamma=float(plain["gamma"]),
        top_k=plain["top_k"],
        sentences=tuple(plain["sentences"]),
        mean_code=tensors.get("coder.mean_code"),
    )
