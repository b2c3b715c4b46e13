"""What a fit saw of rows it was not fitted on: all that temperature, thresholds and limits may be taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.decision.probabilities import Labels, softmax
from pipeline.errors import DataError
from pipeline.types import Float32Array


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Out-of-fold values of M labelled rows. Kept with the head, so that edited costs need no refit.

    Values of rows a head was fitted on look surer than any part of a line ever will; nothing here can tell them
    apart, so whoever makes this value must hold the rows out.
    """

    logits: Float32Array  # (M, C), before temperature
    labels: Labels  # (M,)
    novelty: Float32Array | None = None  # (M,), distance over the fold model's own scale
    text_margin: Float32Array | None = None  # (M,), see `unknown.text_margin`

    def __post_init__(self) -> None:
        m = self.labels.size
        if self.logits.ndim != 2 or self.logits.shape[0] != m:
            raise DataError(f"held out: expected ({m}, C) logits for {m} labels, got {self.logits.shape}")
        if m and (int(self.labels.min()) < 0 or int(self.labels.max()) >= self.logits.shape[1]):
            raise DataError(
                f"held out: expected labels 0 to {self.logits.shape[1] - 1}, got {self.labels.min()} to "
                f"{self.labels.max()}; fit again with these classes"
            )
        for name in ("logits", "novelty", "text_margin"):
            values = getattr(self, name)
            if values is not None and (values.shape[0] != m or not np.isfinite(values).all()):
                raise DataError(f"held out: expected {m} finite rows of {name}, got {values.shape}; fit again")

    def probabilities(self, temperature: float) -> Float32Array:
        """(M, C) calibrated."""
        return softmax(self.logits / np.float32(temperature))
