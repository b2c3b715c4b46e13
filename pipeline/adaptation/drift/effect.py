"""Does drift do harm: audit labels against what was promised, anytime-valid, with exact bounds and an age."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.adaptation.drift.spc import ShareBounds, clopper_pearson
from pipeline.errors import ConfigError

AuditKind = Literal["escape", "overkill"]

N_ALTERNATIVES = 8
FARTHEST = 100 / 3  # times the promised share: 20 % for 0.6 %
NEAREST = 5 / 3  # 1 % for 0.6 %
LARGEST_SHARE = 0.5
LARGEST_LOG = 700.0  # exp() of more is infinite


@dataclass(frozen=True, slots=True)
class AuditReading:
    """An audit chart after a label, or when asked."""

    log_e: float  # natural logarithm of the Shiryaev-Roberts sum
    log_limit: float
    n_labels: int
    n_errors: int
    is_stale: bool  # no label for so long that none of this is about today

    @property
    def alarm(self) -> bool:
        """The errors are more than was promised."""
        return self.log_e >= self.log_limit

    @property
    def bounds(self) -> ShareBounds:
        """Of the share of errors, 95 %, over all labels since the chart began."""
        return clopper_pearson(self.n_errors, n=self.n_labels)


class AuditChart:
    """Shiryaev-Roberts e-detector (Shin, Ramdas and Rinaldo, 2024) of "each label is an error with at most p0".

    One kind: escapes among audited accepted parts, or overkill among audited rejected ones. The labels must be a
    uniform sample of those parts. With no drift it takes at least 1 / alpha labels on average to an alarm, without
    independence: each factor has mean <= 1 whatever came before.
    """

    def __init__(
        self,
        kind: AuditKind,
        *,
        target_share: float,
        tolerance: float,
        alpha: float = 1e-4,
        max_age_s: float = 57_600.0,  # two shifts
    ) -> None:
        promised = target_share + tolerance
        if not (0.0 < promised < LARGEST_SHARE / NEAREST and 0.0 < alpha < 1.0):
            got = f"{promised} and {alpha}"
            raise ConfigError(f"audit chart: expected target + tolerance in (0, 0.3) and alpha in (0, 1), got {got}")
        self.kind = kind
        shares = np.geomspace(NEAREST * promised, min(FARTHEST * promised, LARGEST_SHARE), N_ALTERNATIVES)
        self._log_error = np.log(shares / promised)
        self._log_right = np.log((1.0 - shares) / (1.0 - promised))
        self._log_sums = np.full(N_ALTERNATIVES, -math.inf)
        self._log_limit = -math.log(alpha)
        self._max_age_s = max_age_s
        self._last_at: float | None = None
        self._n_labels = self._n_errors = 0

    def update(self, error: bool, *, at: float) -> AuditReading:
        """One audit label; `at` in seconds of any clock that `reading` is asked with."""
        self._log_sums = np.logaddexp(self._log_sums, 0.0) + (self._log_error if error else self._log_right)
        self._log_sums = np.minimum(self._log_sums, LARGEST_LOG)
        self._n_labels += 1
        self._n_errors += bool(error)
        self._last_at = at
        return self.reading(now=at)

    def reading(self, *, now: float) -> AuditReading:
        """What is known by now."""
        stale = self._last_at is None or now - self._last_at > self._max_age_s
        log_e = float(np.logaddexp.reduce(self._log_sums) - math.log(N_ALTERNATIVES))
        return AuditReading(log_e, self._log_limit, self._n_labels, self._n_errors, stale)

    def snapshot(self) -> dict[str, Any]:
        """All state as JSON values; sums that are still zero are None."""
        return {
            "log_sums": [v if math.isfinite(v) else None for v in self._log_sums.tolist()],
            "last_at": self._last_at,
            "n_labels": self._n_labels,
            "n_errors": self._n_errors,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on where the snapshot was taken; the settings must be the same."""
        self._log_sums = np.array([-math.inf if v is None else v for v in snapshot["log_sums"]])
        self._last_at = snapshot["last_at"]
        self._n_labels, self._n_errors = snapshot["n_labels"], snapshot["n_errors"]


@dataclass(frozen=True, slots=True)
class AccuracyOutlook:
    """Accuracy expected from calibrated confidence alone (CBPE); a hint, for it knows nothing of a changed rule."""

    expected: float  # now
    reference: float  # in control
    audited: ShareBounds | None  # measured, where there are labels

    @property
    def loss(self) -> float:
        """Fall against the reference; negative is better."""
        return self.reference - self.expected

    @property
    def contradicted(self) -> bool:
        """The labels exclude what the confidence promises: the calibration no longer holds."""
        return self.audited is not None and not self.audited.low <= self.expected <= self.audited.high
