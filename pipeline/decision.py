"""Calibrated probabilities to what the line does with the part; padding ends here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import Batch, BatchTiming, Confusion, Decision, Float32Array, Prediction, Scores


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """What a configuration says about deciding. Probabilities are calibrated, 0 to 1."""

    good_classes: frozenset[str]
    thresholds: Mapping[str, float] = field(default_factory=dict)  # per class, below it a person looks
    review_below: float = 0.5  # for classes without a threshold of their own
    unknown_novelty: float = 1.0  # novelty above this is no class we know; infinity turns it off


@dataclass(frozen=True, slots=True)
class HeadIdentity:
    """What every result says about the head that made it."""

    name: str
    version: int
    bundle_sha256: str
    encoder: str


class Decider:
    """One head's scores to predictions. Immutable; a head swap brings its own."""

    def __init__(
        self, *, classes: Sequence[str], temperature: float, policy: DecisionPolicy, identity: HeadIdentity
    ) -> None:
        unknown = sorted((set(policy.good_classes) | set(policy.thresholds)) - set(classes))
        if unknown:
            raise ConfigError(
                f"decision: expected classes of the head ({', '.join(classes)}), got {', '.join(unknown)}; "
                "correct good_classes and thresholds, or fit the head with these classes"
            )
        self._classes = tuple(classes)
        self._temperature = temperature
        self._policy = policy
        self._identity = identity
        self._good = np.array([name in policy.good_classes for name in classes])
        self._least = np.array([policy.thresholds.get(name, policy.review_below) for name in classes])

    def decide(self, scores: Scores, *, batch: Batch, decided_at: float, infer_s: float) -> list[Prediction]:
        """Predictions of the n real rows, in the batch's order."""
        n = batch.n_real
        logits, zero_shot = scores.logits[:n], scores.zero_shot[:n]
        probabilities = softmax(logits / self._temperature)
        winner, zero_shot_winner = logits.argmax(axis=1), zero_shot.argmax(axis=1)
        confidence = probabilities[np.arange(n), winner]
        novel = np.zeros(n, bool) if scores.novelty is None else scores.novelty[:n] > self._policy.unknown_novelty
        return [
            Prediction(
                ref=ref,
                label=self._classes[winner[row]],
                confidence=float(confidence[row]),
                decision=self._verdict(int(winner[row]), float(confidence[row]), bool(novel[row])),
                probabilities=dict(zip(self._classes, probabilities[row].tolist(), strict=True)),
                zero_shot_label=self._classes[zero_shot_winner[row]],
                confusion=self._confusion(logits[row], zero_shot[row], int(winner[row])),
                head=self._identity.name,
                head_version=self._identity.version,
                bundle_sha256=self._identity.bundle_sha256,
                encoder=self._identity.encoder,
                decided_at=decided_at,
                timing=BatchTiming(batch.size, n, batch.formed_at - ref.received_at, infer_s),
                evidence=batch.evidence[row],
            )
            for row, ref in enumerate(batch.refs)
        ]

    def _confusion(self, logits: Float32Array, zero_shot: Float32Array, winner: int) -> Confusion:
        """Margins over the runner-up; of equal runners-up the lowest column."""
        others = logits.copy()
        others[winner] = -np.inf
        rival = int(others.argmax())
        margin = float(logits[winner] - logits[rival])
        raw_margin = float(zero_shot[winner] - zero_shot[rival])
        return Confusion(self._classes[rival], margin, raw_margin, margin - raw_margin)

    def _verdict(self, winner: int, confidence: float, novel: bool) -> Decision:
        if novel:
            return Decision.UNKNOWN
        if confidence < self._least[winner]:
            return Decision.REVIEW
        return Decision.ACCEPT if self._good[winner] else Decision.REJECT


def softmax(logits: Float32Array) -> Float32Array:
    """Row-wise, stable. (n, C) -> (n, C)"""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Float32Array = shifted / shifted.sum(axis=1, keepdims=True)
    return result
