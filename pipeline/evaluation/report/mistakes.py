"""The sealed images that were surest and wrong, with why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.explain import Explanation, explain
from pipeline.heads.bundles.evidence import Evidence
from pipeline.heads.fitted import FittedHead, LabelledFeatures, take_rows
from pipeline.types import Float32Array

MOST = 6  # shown
TOP_K = 3  # texts and images named per mistake


@dataclass(frozen=True, eq=False)
class Mistake:
    """One wrong answer."""

    picture: str  # name of its file
    truth: str
    predicted: str
    confidence: float
    truth_confidence: float
    explanation: Explanation


def worst_mistakes(
    fitted: FittedHead,
    *,
    probabilities: Float32Array,
    sealed: LabelledFeatures,
    pictures: tuple[str, ...],
    evidence: Evidence,
) -> tuple[Mistake, ...]:
    """Surest first, from calibrated probabilities (S, C) of the sealed rows."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != sealed.labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
    return tuple(
        Mistake(
            picture=pictures[row],
            truth=sealed.classes[int(sealed.labels[row])],
            predicted=sealed.classes[int(predicted[row])],
            confidence=float(confidence[row]),
            truth_confidence=float(probabilities[row, sealed.labels[row]]),
            explanation=explain(
                fitted.head,
                features=take_rows(sealed.features, rows=np.array([row])),
                temperature=fitted.temperature,
                evidence=evidence,
                top_k=TOP_K,
            ),
        )
        for row in chosen.tolist()
    )
