"""Reads the reference numbers of the published LDC code and fills our modules from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.heads.deconfusion.maf import AttentionPool, StageMapMaf, TokenMaf
from pipeline.heads.deconfusion.published import LdcNetwork, LdcOutputs
from tests.conftest import SHARED_DATA, need

LOSS_NAMES = {
    "loss_ce_maf": "ce_maf",
    "loss_ce_icd": "ce_icd",
    "loss_ce_alf": "ce_alf",
    "loss_l1_maf_to_zero_shot": "l1_maf",
    "loss_l1_icd_to_zero_shot": "l1_icd",
    "loss_total": "total",
}
Arrays = dict[str, np.ndarray]


def folder() -> Path:
    path = Path(os.environ.get("LDC_GOLDEN", SHARED_DATA / "ldc-golden"))
    need(path.is_dir(), what=f"LDC reference numbers in {path}", how="set LDC_GOLDEN")
    return path


def load(name: str) -> Arrays:
    with np.load(folder() / name) as z:
        return {k: z[k] for k in z}


def load_full_width(kind: str) -> tuple[Arrays, Arrays]:
    """Inputs rebuilt as the recipe says, and the reference outputs."""
    recipe: dict[str, Any] = json.loads((folder() / f"{kind}_full_width_recipe.json").read_text())
    reference = load(f"{kind}_full_width.npz")
    inputs = {k: reference[k] for k in ("final_embedding", "text_prototypes", "labels", "tau")}
    for a in recipe["arrays"]:
        noise = np.random.RandomState(a["seed"]).random_sample(a["shape"])
        inputs[a["name"]] = ((2 * noise - 1) * a["scale"] + a["offset"]).astype(np.float32)
    if kind == "resnet":
        inputs["frozen_attnpool_heads"] = reference.get("frozen_attnpool_heads", np.asarray(32))
    return inputs, reference


def tensor(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(a))


def attention_pool(z: Arrays) -> AttentionPool:
    n_tokens, width = z["frozen_attnpool_position"].shape
    pool = AttentionPool(
        n_tokens=n_tokens,
        width=width,
        n_heads=int(z["frozen_attnpool_heads"]),
        n_out=z["frozen_attnpool_output_bias"].shape[0],
    )
    pool.position.data = tensor(z["frozen_attnpool_position"])
    for part in ("query", "key", "value", "output"):
        getattr(pool, part).weight.data = tensor(z[f"frozen_attnpool_{part}_weight"])
        getattr(pool, part).bias.data = tensor(z[f"frozen_attnpool_{part}_bias"])
    return pool


def our_name(name: str) -> str:
    """Name of a tensor of the files -> name in our state dict."""
    name = name.replace("batches_seen", "num_batches_tracked")
    for suffix in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        if name.endswith("_" + suffix):
            name = name.removesuffix("_" + suffix)
            break
    if name.startswith("maf_level"):
        level, _, part = name.removeprefix("maf_level").partition("_")
        return f"maf.levels.{level}.{part}.{suffix}"
    if name.startswith("gate_"):
        return f"gate.block.{name.removeprefix('gate_')}.{suffix}"
    head, part = name.rsplit("_", 1)
    return f"{head.replace('icd_', 'icd.')}.{part}.{suffix}"


def trainable_names(z: Arrays) -> list[str]:
    return [k for k in z if k.startswith(("maf_level", "maf_classifier", "icd_", "gate_"))]


def network(z: Arrays) -> LdcNetwork:
    n_classes, d = z["text_prototypes"].shape
    if "frozen_projection" in z:
        projection = tensor(z["frozen_projection"])
        maf: torch.nn.Module = TokenMaf(width=projection.shape[0], projection=projection)
    else:
        channels = [z[f"levels_{i}"].shape[1] for i in range(4)]
        maf = StageMapMaf(channels=channels, attention_pool=attention_pool(z))
    width = z["maf_classifier_linear1_weight"].shape[0]
    net = LdcNetwork(maf, n_classes=n_classes, embedding_dim=d, classifier_width=width)
    state = net.state_dict()
    for k in trainable_names(z):
        state[our_name(k)] = tensor(z[k])
    net.load_state_dict(state)
    return net


def outputs_as_named(out: LdcOutputs) -> Arrays:
    named = {
        "zero_shot_logits": out.zero_shot,
        "out_maf_logits": out.maf,
        "out_icd_logits": out.icd,
        "out_alf_logits": out.fused,
        "alpha": out.alpha,
        "out_maf_feature": out.maf_feature.feature,
        "icd_a1_output": out.icd_outputs.from_logits,
        "icd_a2_output": out.icd_outputs.from_feature,
        "icd_correction": out.icd_outputs.correction,
    }
    for i, p in enumerate(out.maf_feature.pooled):
        named[f"maf_pooled_level{i}"] = p
        named[f"maf_pooled_spatial_mean_level{i}"] = p.mean(dim=(2, 3)) if p.ndim == 4 else p
    return {k: v.detach().numpy() for k, v in named.items()}
