"""LDC as published: network, five losses, optimiser recipe (CVPR 2025, arXiv 2504.12104)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pipeline.heads.deconfusion.alf import Gate
from pipeline.heads.deconfusion.blocks import Block
from pipeline.heads.deconfusion.icd import Icd, IcdOutputs
from pipeline.heads.deconfusion.maf import MafFeature

PUBLISHED_LEARNING_RATE = 1e-4  # the configuration says 1e-3 and the code divides it by ten
PUBLISHED_WEIGHT_DECAY = 1e-4
PUBLISHED_EPS = 1e-4
PUBLISHED_EPOCHS = 50
PUBLISHED_BATCH_SIZE = 64
PUBLISHED_CLASSIFIER_WIDTH = {"vit": 2048, "resnet": 1024}  # hidden width of the MAF classifier


@dataclass(frozen=True, slots=True)
class LdcOutputs:
    """Everything one forward pass makes; (B, C) unless said otherwise."""

    zero_shot: torch.Tensor  # s
    maf: torch.Tensor  # m
    icd: torch.Tensor  # r = s + correction
    fused: torch.Tensor  # f = alpha m + (1 - alpha) r
    alpha: torch.Tensor  # (B,)
    maf_feature: MafFeature
    icd_outputs: IcdOutputs


@dataclass(frozen=True, slots=True)
class LdcLosses:
    """The five terms, all with weight one; scalars."""

    ce_maf: torch.Tensor
    ce_icd: torch.Tensor
    ce_alf: torch.Tensor
    l1_maf: torch.Tensor  # mean over rows and classes of |m - s|
    l1_icd: torch.Tensor  # the same of |r - s|

    @property
    def total(self) -> torch.Tensor:
        """Plain sum, in the published order."""
        return self.ce_maf + self.ce_icd + self.ce_alf + self.l1_maf + self.l1_icd


class LdcNetwork(nn.Module):
    """MAF, ICD and gate around any MAF module (`TokenMaf`, `StageMapMaf`, `PooledMaf`), as published."""

    def __init__(self, maf: nn.Module, *, n_classes: int, embedding_dim: int, classifier_width: int) -> None:
        super().__init__()
        self.maf = maf
        self.maf_classifier = Block(embedding_dim, n_hidden=classifier_width, n_out=n_classes)
        self.icd = Icd(n_classes=n_classes, embedding_dim=embedding_dim)
        self.gate = Gate(embedding_dim=embedding_dim)

    def forward(self, levels: Sequence[torch.Tensor], zero_shot: torch.Tensor) -> LdcOutputs:
        """Levels as the MAF module takes them and (B, C) zero-shot logits -> all outputs."""
        maf_feature: MafFeature = self.maf(levels)
        feature = maf_feature.feature
        m = self.maf_classifier(feature)
        icd_outputs: IcdOutputs = self.icd(zero_shot, feature)
        r = zero_shot + icd_outputs.correction
        alpha = self.gate(feature)  # (B, 1)
        return LdcOutputs(
            zero_shot=zero_shot,
            maf=m,
            icd=r,
            fused=alpha * m + (1.0 - alpha) * r,
            alpha=alpha.squeeze(1),
            maf_feature=maf_feature,
            icd_outputs=icd_outputs,
        )


def ldc_losses(outputs: LdcOutputs, *, labels: torch.Tensor) -> LdcLosses:
    """CE(m) + CE(r) + CE(f) + mean|m - s| + mean|r - s|, on uncentred logits as published."""
    return LdcLosses(
        ce_maf=functional.cross_entropy(outputs.maf, labels),
        ce_icd=functional.cross_entropy(outputs.icd, labels),
        ce_alf=functional.cross_entropy(outputs.fused, labels),
        l1_maf=functional.l1_loss(outputs.maf, outputs.zero_shot),
        l1_icd=functional.l1_loss(outputs.icd, outputs.zero_shot),
    )


def published_optimiser(
    parameters: Iterable[nn.Parameter], *, n_steps: int, learning_rate: float = PUBLISHED_LEARNING_RATE
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with eps 1e-4 and a cosine to zero over `n_steps`, stepped per batch, no warm-up.

    In float32; the published run kept fp16 moments by accident, which is a different optimiser.
    """
    optimiser = torch.optim.AdamW(
        [p for p in parameters if p.requires_grad],
        lr=learning_rate,
        betas=(0.9, 0.999),
        eps=PUBLISHED_EPS,
        weight_decay=PUBLISHED_WEIGHT_DECAY,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: 0.5 * (1.0 + math.cos(math.pi * t / n_steps)))
    return optimiser, schedule


def train_step(
    network: LdcNetwork,
    *,
    levels: Sequence[torch.Tensor],
    zero_shot: torch.Tensor,
    labels: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> LdcLosses:
    """One update in training mode; the losses are those before it."""
    network.train()
    losses = ldc_losses(network(levels, zero_shot), labels=labels)
    optimiser.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
    optimiser.step()
    schedule.step()
    return losses
