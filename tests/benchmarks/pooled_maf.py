"""What LDC loses where MAF reads pooled levels instead of every token: `python -m tests.benchmarks.pooled_maf`.

Both forms are trained alike (the published network, losses and number of epochs) on the same rendered pictures, and
compared on others of the same line: accuracy, how often they answer the same, and how alike their logits are. Two
trainings of the token-exact form that differ in their seed alone say how much of a difference is chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.encoders.demo_clip import register as register_demo
from pipeline.encoders.demo_clip.captions import NAMES
from pipeline.encoders.demo_clip.measure import class_features
from pipeline.encoders.demo_clip.renders import render_set
from pipeline.encoders.open_clip_encoder import make_tower
from pipeline.encoders.open_clip_model import LoadedModel, import_open_clip, load_open_clip
from pipeline.heads.deconfusion.maf import AttentionPool, PooledMaf, StageMapMaf, TokenMaf
from pipeline.heads.deconfusion.published import (
    PUBLISHED_BATCH_SIZE,
    PUBLISHED_CLASSIFIER_WIDTH,
    PUBLISHED_EPOCHS,
    LdcNetwork,
    LdcOutputs,
    published_optimiser,
    train_step,
)
from pipeline.heads.simple.prototype import fit_prototypes
from pipeline.types import Features
from tests.tiny_models import VIT, loaded

CLASSES = tuple(NAMES)
LEARNING_RATE = 1e-3  # the published 1e-4 leaves MAF nearly untrained in float32
ENCODE = 64
Levels = tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Pictures:
    """One tower's view of rendered pictures."""

    tokens: Levels  # (N, T, W) or (N, C, H, W) per level
    pooled: Levels  # (N, 2W) or (N, 2C) per level
    image: torch.Tensor  # (N, D), unit rows
    zero_shot: torch.Tensor  # (N, classes)
    labels: torch.Tensor  # (N,)


def encode(model: LoadedModel, *, texts: torch.Tensor | None, seed: int, n: int, first_index: int = 0) -> Pictures:
    """`n` pictures a class of line `seed` through the tower, tokens and pooled levels alike."""
    renders = render_set([seed], per_class=n, side=model.image_size, first_index=first_index)
    tower = make_tower(model, device="cpu", precision="fp32", n_levels=4).eval()
    tokens, outputs = [], []
    with torch.no_grad():
        for start in range(0, len(renders.images), ENCODE):
            pixels = torch.from_numpy(renders.images[start : start + ENCODE])
            tokens.append(tower.tokens(pixels))
            outputs.append(tower(pixels))
    image, *pooled = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return Pictures(
        tokens=tuple(torch.cat(parts).contiguous() for parts in zip(*tokens, strict=True)),
        pooled=tuple(pooled),
        image=image,
        zero_shot=torch.zeros(0) if texts is None else 100.0 * image @ texts.T,
        labels=torch.tensor([CLASSES.index(part) for part in renders.parts]),
    )


def by_prototypes(support: Pictures, *, query: Pictures) -> tuple[Pictures, Pictures]:
    """Both with the cosine to class means in place of texts: what a tower without meaning has to offer."""
    image = support.image.numpy()
    head, left_out = fit_prototypes(image, labels=support.labels.numpy(), groups=np.arange(len(image)), classes=CLASSES)
    seen = torch.from_numpy(head.score(Features(image=query.image.numpy())).logits)
    return replace(support, zero_shot=torch.from_numpy(left_out)), replace(query, zero_shot=seen)


def exact_maf(visual: Any, *, levels: Levels) -> nn.Module:
    """The published form for the tower: every token, through its frozen projection or attention pool."""
    if not hasattr(visual, "attnpool"):
        return TokenMaf(width=levels[0].shape[-1], projection=visual.proj.detach().float().clone())
    frozen = visual.attnpool
    n_tokens, width = frozen.positional_embedding.shape
    pool = AttentionPool(n_tokens=n_tokens, width=width, n_heads=frozen.num_heads, n_out=frozen.c_proj.weight.shape[0])
    pool.position.data = frozen.positional_embedding.detach().float().clone()
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "c_proj")):
        getattr(pool, ours).load_state_dict(getattr(frozen, theirs).state_dict())
    pool_sizes = [level.shape[-1] // levels[-1].shape[-1] for level in levels]
    return StageMapMaf(channels=[level.shape[1] for level in levels], attention_pool=pool, pool_sizes=pool_sizes)


def trained(
    make: Callable[[], nn.Module], *, kind: str, dim: int, rows: Pictures, pooled: bool, seed: int
) -> LdcNetwork:
    """LDC around the MAF form, trained on `rows`."""
    torch.manual_seed(seed)
    width = PUBLISHED_CLASSIFIER_WIDTH[kind]
    network = LdcNetwork(make(), n_classes=len(CLASSES), embedding_dim=dim, classifier_width=width)
    levels = rows.pooled if pooled else rows.tokens
    n = rows.labels.numel()
    starts = range(0, n, PUBLISHED_BATCH_SIZE)
    optimiser, schedule = published_optimiser(
        network.parameters(), n_steps=PUBLISHED_EPOCHS * len(starts), learning_rate=LEARNING_RATE
    )
    for _ in range(PUBLISHED_EPOCHS):
        order = torch.randperm(n)
        for start in starts:
            batch = order[start : start + PUBLISHED_BATCH_SIZE]
            train_step(
                network,
                levels=[level[batch] for level in levels],
                zero_shot=rows.zero_shot[batch],
                labels=rows.labels[batch],
                optimiser=optimiser,
                schedule=schedule,
            )
    return network.eval()


def likeness(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Share of equal answers, and the correlation of row-centred logits."""
    a, b = (logits - logits.mean(dim=1, keepdim=True) for logits in (one, other))
    same = (one.argmax(dim=1) == other.argmax(dim=1)).float().mean()
    return float(same), float((a * b).sum() / (a.norm() * b.norm()))


def compared(
    model: LoadedModel, *, texts: torch.Tensor | None, shots: int, seed: int, line: int
) -> dict[str, list[float]]:
    """Accuracy of s, m, r, f in both forms; likeness of m and f between the forms and between two exact trainings."""
    torch.set_num_threads(1)
    support = encode(model, texts=texts, seed=line, n=shots, first_index=100_000 + 1_000 * seed)
    query = encode(model, texts=texts, seed=line, n=20)
    if texts is None:
        support, query = by_prototypes(support, query=query)
    visual: Any = model.module.visual
    kind = "resnet" if hasattr(visual, "attnpool") else "vit"
    dim = support.image.shape[1]
    dims = [level.shape[1] for level in support.pooled]

    def exact() -> nn.Module:
        return exact_maf(visual, levels=support.tokens)

    def pooled() -> nn.Module:
        return PooledMaf(level_dims=dims, embedding_dim=dim)

    runs: list[LdcOutputs] = []
    for make, is_pooled, start in ((exact, False, seed), (exact, False, seed + 500), (pooled, True, seed)):
        network = trained(make, kind=kind, dim=dim, rows=support, pooled=is_pooled, seed=start)
        with torch.no_grad():
            runs.append(network(query.pooled if is_pooled else query.tokens, query.zero_shot))
    found = {"prior: accuracy of s": [accuracy(query.zero_shot, labels=query.labels)]}
    for name, run in (("exact", runs[0]), ("exact, other seed", runs[1]), ("pooled", runs[2])):
        found[f"{name}: accuracy of m, r, f"] = [
            accuracy(x, labels=query.labels) for x in (run.maf, run.icd, run.fused)
        ]
    for name, other in (("pooled", runs[2]), ("exact, other seed", runs[1])):
        pairs = [likeness(a, b) for a, b in ((runs[0].maf, other.maf), (runs[0].fused, other.fused))]
        found[f"exact and {name}: same answer, correlation of m; of f"] = [value for pair in pairs for value in pair]
    return found


def accuracy(logits: torch.Tensor, *, labels: torch.Tensor) -> float:
    """Share of right answers."""
    return float((logits.argmax(dim=1) == labels).float().mean())


def towers() -> Sequence[tuple[str, LoadedModel, torch.Tensor | None]]:
    """The demo encoder (a small CLIP ResNet, trained) and a ViT of eight blocks with random weights."""
    demo = load_open_clip("demo_clip")
    texts = class_features(demo.module, tokenizer=import_open_clip().get_tokenizer(register_demo()))
    return (("demo encoder", demo, texts), ("ViT with random weights", loaded(VIT), None))


def main() -> None:
    """Prints means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", default="2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--line", type=int, default=30_001, help="the rendered line; 10,000 and above were never trained on"
    )
    given = parser.parse_args()
    for name, model, texts in towers():
        for shots in (int(k) for k in given.shots.split(",")):
            runs = [compared(model, texts=texts, shots=shots, seed=s, line=given.line) for s in range(given.seeds)]
            print(f"{name}, {shots} shots, {given.seeds} seeds", flush=True)
            for key in runs[0]:
                values = np.mean([run[key] for run in runs], axis=0)
                print(f"  {key}: " + ", ".join(f"{value:.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
