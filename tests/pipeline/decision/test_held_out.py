"""Held-out rows are kept before temperature, and only whole."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import HeldOut
from pipeline.errors import DataError

LABELS = np.array([0, 1], np.int64)
LOGITS = np.array([[2, 0, 0], [0, 4, 0]], np.float32)


def test_temperature_is_applied_when_asked_for() -> None:
    held = HeldOut(LOGITS, LABELS)
    assert held.probabilities(1.0)[0, 0] > held.probabilities(2.0)[0, 0]
    assert held.probabilities(2.0).sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"logits": LOGITS[:1]}, r"expected \(2, C\) logits"),
        ({"labels": np.array([0, 3], np.int64)}, "labels 0 to 2, got 0 to 3"),
        ({"novelty": np.zeros(3, np.float32)}, "2 finite rows of novelty"),
        ({"text_margin": np.array([1, np.nan], np.float32)}, "2 finite rows of text_margin"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(given: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        HeldOut(**({"logits": LOGITS, "labels": LABELS} | given))
