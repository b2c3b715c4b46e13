"""The head that decides, and who is told of what it decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.decision import Decider
from pipeline.interfaces import Head
from pipeline.types import Batch, Features, Prediction, Scores


@dataclass(frozen=True, slots=True)
class LiveHead:
    """A head with the decider that knows its classes and temperature: swapped as one value."""

    head: Head
    decider: Decider
    safe: bool = False  # its review band is wider until a drift is settled


TapLike = Callable[[Batch, Features, Scores, Sequence[Prediction], LiveHead], None]
