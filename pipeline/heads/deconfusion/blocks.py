"""The two-layer block that every LDC adapter is made of."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Linear, norm, ReLU, Linear, no biases (LDC, CVPR 2025: A_1, A_2, A_3, the gate, the classifier of MAF).

    `norm="batch"` is the published form and needs two rows or more in training mode; `norm="layer"` is safe for one row
    and never lets a row see its neighbours. `zero_last` starts the block as the zero function.
    """

    def __init__(self, n_in: int, *, n_hidden: int, n_out: int, norm: str = "batch", zero_last: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(n_in, n_hidden, bias=False)
        self.bn: nn.Module = nn.BatchNorm1d(n_hidden) if norm == "batch" else nn.LayerNorm(n_hidden)
        self.linear2 = nn.Linear(n_hidden, n_out, bias=False)
        if zero_last:
            nn.init.zeros_(self.linear2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, n_in) -> (B, n_out)."""
        out: torch.Tensor = self.linear2(torch.relu(self.bn(self.linear1(x))))
        return out
