"""What a run amounts to: agreement with the truth where it is known, and latencies, in constant memory."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import Prediction

LATENCY_FLOOR_S = 1e-5
LATENCY_STEP = 1.01  # each bin is one per cent wider than the one before, which bounds the error of a quantile
LOG_STEP = math.log(LATENCY_STEP)
N_BINS = 2000  # up to floor * step ** bins, far above a day


@dataclass(frozen=True, slots=True)
class TallySummary:
    """Figures of a run; accuracies are None where no frame carried its truth. Latency: received (the newest frame of
    a part) to delivered."""

    n_delivered: int
    n_with_truth: int
    accuracy_zero_shot: float | None
    accuracy_head: float | None
    latency_p50_s: float | None
    latency_p99_s: float | None
    decisions: dict[str, int]
    labels: dict[str, int]


class Tally:
    """`add` is called by the publish thread, `summary` by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bins = np.zeros(N_BINS, np.int64)
        self._decisions: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._n = self._n_truth = self._n_zero_shot_right = self._n_head_right = 0

    def add(self, predictions: Sequence[Prediction], *, now: float) -> None:
        """Count delivered predictions; `now` is when the last sink had them (monotonic seconds)."""
        with self._lock:
            for one in predictions:
                self._n += 1
                self._bins[_bin(now - one.refs[-1].received_at)] += 1
                self._decisions[one.decision.value] += 1
                self._labels[one.label] += 1
                if one.ref.truth is not None:
                    self._n_truth += 1
                    self._n_zero_shot_right += one.zero_shot_label == one.ref.truth
                    self._n_head_right += one.label == one.ref.truth

    def summary(self) -> TallySummary:
        """All figures at this moment."""
        with self._lock:
            return TallySummary(
                n_delivered=self._n,
                n_with_truth=self._n_truth,
                accuracy_zero_shot=self._n_zero_shot_right / self._n_truth if self._n_truth else None,
                accuracy_head=self._n_head_right / self._n_truth if self._n_truth else None,
                latency_p50_s=self._quantile(0.50),
                latency_p99_s=self._quantile(0.99),
                decisions=dict(self._decisions),
                labels=dict(self._labels),
            )

    def _quantile(self, q: float) -> float | None:
        if not self._n:
            return None
        index = int(np.searchsorted(self._bins.cumsum(), np.ceil(q * self._n)))
        return float(LATENCY_FLOOR_S * LATENCY_STEP**index)


def _bin(seconds: float) -> int:
    ratio = max(seconds, LATENCY_FLOOR_S) / LATENCY_FLOOR_S
    return min(N_BINS - 1, math.ceil(math.log(ratio) / LOG_STEP))
