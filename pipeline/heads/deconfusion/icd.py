"""Inter-class deconfusion (ICD): the confusion between classes, learned and taken off the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.heads.deconfusion.blocks import Block


@dataclass(frozen=True, slots=True)
class IcdOutputs:
    """The correction and its two summands before the last block."""

    correction: torch.Tensor  # (B, C), added to the zero-shot logits; minus the confusion of the paper
    from_logits: torch.Tensor  # (B, D), A_1(s)
    from_feature: torch.Tensor  # (B, D), A_2(e)


class Icd(nn.Module):
    """A_3(A_1(s) + A_2(e)) (LDC, CVPR 2025, arXiv 2504.12104); the sign is absorbed by the weights, so it is added."""

    def __init__(self, *, n_classes: int, embedding_dim: int, norm: str = "batch", zero_last: bool = False) -> None:
        super().__init__()
        d = embedding_dim
        self.a1 = Block(n_classes, n_hidden=d, n_out=d, norm=norm)
        self.a2 = Block(d, n_hidden=d, n_out=d, norm=norm)
        self.a3 = Block(d, n_hidden=d, n_out=n_classes, norm=norm, zero_last=zero_last)

    def forward(self, zero_shot: torch.Tensor, feature: torch.Tensor) -> IcdOutputs:
        """(B, C) logits and (B, D) feature -> (B, C) correction."""
        from_logits, from_feature = self.a1(zero_shot), self.a2(feature)
        correction = self.a3(from_logits + from_feature)
        return IcdOutputs(correction=correction, from_logits=from_logits, from_feature=from_feature)
