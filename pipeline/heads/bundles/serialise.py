"""Heads to tensors and settings, and back: what a bundle stores, and no code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.errors import BundleError
from pipeline.heads.auto.blend import BlendHead, part_from_tensors
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.coder.parts import coder_from_parts, coder_to_parts
from pipeline.heads.deconfusion.fusion import Fusion
from pipeline.heads.deconfusion.gate import EvidenceGate
from pipeline.heads.deconfusion.head import DeconfusionHead, Prior
from pipeline.heads.deconfusion.network import DeconfusionNetwork, NetworkShape
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead
from pipeline.heads.deconfusion.shared_parts import shared_from_parts, shared_to_parts
from pipeline.heads.fitted import AnyHead
from pipeline.heads.novelty import NoveltyModel
from pipeline.heads.simple.affine import AffineHead
from pipeline.heads.simple.kernel_heads import KernelHead
from pipeline.heads.simple.prototype import PrototypeHead
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import Float32Array

Tensors = dict[str, Float32Array]
Settings = dict[str, Any]


SUMS = ("probe", "gda", "linear", "pool", "kernel_ridge", "tip")  # one matrix or one kernel on top of a prior


def head_to_parts(head: AnyHead) -> tuple[Settings, Tensors]:
    """Settings (plain values) and tensors (C-contiguous float32) that give the same head again, bit for bit."""
    if isinstance(head, CoderHead | CoderAdapterHead):
        settings, tensors = coder_to_parts(head)
    elif isinstance(head, BlendHead | AffineHead | KernelHead):
        settings, tensors = head.settings(), head.tensors()
    elif isinstance(head, DeconfusionSharedHead):
        settings, tensors = shared_to_parts(head)
        _add_fusion(head.fusion, settings=settings, tensors=tensors)
    else:
        settings, tensors = _prior_to_parts(head)
    if head.novelty is not None:
        novelty = head.novelty
        settings["novelty"] = {"outside_precision": novelty.outside_precision, "threshold": novelty.threshold}
        for name in ("centre", "span", "whitening", "means"):
            tensors[f"novelty.{name}"] = getattr(novelty, name)
    return settings, {k: np.ascontiguousarray(v, dtype=np.float32).copy() for k, v in tensors.items()}


def _prior_to_parts(head: ZeroShotHead | PrototypeHead | DeconfusionHead) -> tuple[Settings, Tensors]:
    prior = head.prior if isinstance(head, DeconfusionHead) else head
    settings: Settings = {"kind": head.name, "prior": {"kind": prior.name, "scale": prior.scale}}
    tensors: Tensors = {"prior.prototypes": prior.prototypes}
    if isinstance(prior, PrototypeHead):
        tensors["prior.centre"] = prior.centre
    if isinstance(head, DeconfusionHead):
        settings["shape"] = head.network.shape.to_json()
        _add_fusion(head.fusion, settings=settings, tensors=tensors)
        tensors |= {f"network.{k}": v.numpy() for k, v in head.network.state_dict().items()}
    return settings, tensors


def _add_fusion(fusion: Fusion, *, settings: Settings, tensors: Tensors) -> None:
    gate = fusion.gate
    settings["fusion"] = {
        "beta": fusion.beta,
        "correction_weight": fusion.correction_weight,
        "residual_weight": fusion.residual_weight,
        "maf_scale": fusion.maf_scale,
        "gate_bias": None if gate is None else gate.bias,
    }
    if gate is not None:
        tensors["gate.weight"] = gate.weight


def head_from_parts(settings: Settings, *, tensors: Tensors, classes: tuple[str, ...]) -> AnyHead:
    """The head again; raises BundleError on a kind this version does not know."""
    for tensor in tensors.values():
        tensor.flags.writeable = False
    novelty = _novelty(settings, tensors=tensors)
    kind = settings["kind"]
    if kind == "deconfusion":
        return DeconfusionHead(
            prior=_prior(settings["prior"], tensors=tensors, classes=classes, novelty=None),
            network=_network(settings["shape"], tensors=tensors),
            fusion=_fusion(settings["fusion"], tensors=tensors),
            novelty=novelty,
        )
    if kind == "deconfusion_shared":
        prior = _prior(settings["prior"], tensors=tensors, classes=classes, novelty=None)
        fusion = _fusion(settings["fusion"], tensors=tensors)
        return replace(shared_from_parts(settings, tensors=tensors, prior=prior, fusion=fusion), novelty=novelty)
    if kind in ("zero_shot", "prototype"):
        return _prior(settings["prior"], tensors=tensors, classes=classes, novelty=novelty)
    if kind in ("coder", "coder_adapter"):
        return replace(coder_from_parts(settings, tensors=tensors, classes=classes), novelty=novelty)
    if kind == "auto":
        return BlendHead.from_tensors(settings, tensors=tensors, classes=classes, novelty=novelty)
    if kind in SUMS:
        return replace(part_from_tensors(settings, tensors=tensors, classes=classes), novelty=novelty)
    raise BundleError(f"expected a kind of head that this version knows, got {kind!r}; update Clearline")


def level_dims(settings: Settings) -> tuple[int, ...]:
    """Widths of the levels the head was fitted with; empty where the embedding was all there was."""
    if "parts" in settings:
        return max((level_dims(part) for part in settings["parts"]), key=len)
    return tuple(settings.get("shape", settings).get("level_dims", ()))


def _prior(settings: Settings, *, tensors: Tensors, classes: tuple[str, ...], novelty: NoveltyModel | None) -> Prior:
    prototypes, scale = tensors["prior.prototypes"], float(settings["scale"])
    if settings["kind"] == "zero_shot":
        return ZeroShotHead(classes=classes, prototypes=prototypes, scale=scale, novelty=novelty)
    centre = tensors["prior.centre"]
    return PrototypeHead(classes=classes, prototypes=prototypes, centre=centre, scale=scale, novelty=novelty)


def _network(shape: Settings, *, tensors: Tensors) -> DeconfusionNetwork:
    plain = {**shape, "level_dims": tuple(shape["level_dims"])}
    network = DeconfusionNetwork(NetworkShape(**plain))
    own = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in own.items()})
    return network.requires_grad_(False).eval()


def _fusion(settings: Settings, *, tensors: Tensors) -> Fusion:
    plain = dict(settings)
    bias = plain.pop("gate_bias")
    gate = None if bias is None else EvidenceGate(weight=tensors["gate.weight"], bias=float(bias))
    return Fusion(**plain, gate=gate)


def _novelty(settings: Settings, *, tensors: Tensors) -> NoveltyModel | None:
    if "novelty" not in settings:
        return None
    numbers = settings["novelty"]
    return NoveltyModel(
        centre=tensors["novelty.centre"],
        span=tensors["novelty.span"],
        whitening=tensors["novelty.whitening"],
        means=tensors["novelty.means"],
        outside_precision=float(numbers["outside_precision"]),
        threshold=float(numbers["threshold"]),
    )
