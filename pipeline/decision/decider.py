"""Calibrated probabilities to what the line does with the part; padding ends here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decision.policy import VERDICTS, DecisionPolicy, Rule
from pipeline.decision.probabilities import softmax
from pipeline.decision.unknown import text_margin
from pipeline.types import Batch, BatchTiming, Confusion, Decision, Float32Array, Prediction, Scores


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
        """Raises ConfigError when the policy names classes that the head does not know."""
        self._rule = Rule(policy, classes=classes)
        self._classes = tuple(classes)
        self.policy = policy
        self.temperature = temperature
        self.identity = identity

    def with_policy(self, policy: DecisionPolicy) -> Decider:
        """The same head under another policy."""
        return Decider(classes=self._classes, temperature=self.temperature, policy=policy, identity=self.identity)

    def judge(self, scores: Scores) -> list[tuple[int, Decision]]:
        """Class number and verdict of every row, without making predictions of them."""
        _, winner, verdicts = self._judged(scores, n=scores.logits.shape[0])
        return [(label, VERDICTS[code]) for label, code in zip(winner.tolist(), verdicts, strict=True)]

    def _judged(self, scores: Scores, *, n: int) -> tuple[Float32Array, npt.NDArray[np.intp], list[int]]:
        """Probabilities, winner and verdict code of the first n rows."""
        logits = scores.logits[:n]
        probabilities = softmax(logits / self.temperature)
        winner = logits.argmax(axis=1)
        verdicts = self._rule.verdicts(
            probabilities,
            label=winner,
            novelty=None if scores.novelty is None else scores.novelty[:n],
            text_margin=_text_margin(scores, n=n) if self._rule.uses_text_margin else None,
        )
        return probabilities, winner, verdicts.tolist()

    def decide(self, scores: Scores, *, batch: Batch, decided_at: float, infer_s: float) -> list[Prediction]:
        """Predictions of the n real rows, in the batch's order."""
        n, names, head = batch.n_real, self._classes, self.identity
        logits, zero_shot = scores.logits[:n], scores.zero_shot[:n]
        probabilities, winner, verdicts = self._judged(scores, n=n)
        confidence = probabilities[np.arange(n), winner].tolist()
        confusions = self._confusions(logits, zero_shot, winner)
        all_probabilities, zero_shot_winner = probabilities.tolist(), zero_shot.argmax(axis=1).tolist()
        labels = winner.tolist()
        return [
            Prediction(
                ref=ref,
                label=names[labels[row]],
                confidence=confidence[row],
                decision=VERDICTS[verdicts[row]],
                probabilities=dict(zip(names, all_probabilities[row], strict=True)),
                zero_shot_label=names[zero_shot_winner[row]],
                confusion=confusions[row],
                head=head.name,
                head_version=head.version,
                bundle_sha256=head.bundle_sha256,
                encoder=head.encoder,
                decided_at=decided_at,
                timing=BatchTiming(batch.size, n, batch.formed_at - ref.received_at, infer_s),
                evidence=batch.evidence[row],
            )
            for row, ref in enumerate(batch.refs)
        ]

    def _confusions(
        self, logits: Float32Array, zero_shot: Float32Array, winner: npt.NDArray[np.intp]
    ) -> list[Confusion]:
        """Margins over the runner-up; of equal runners-up the lowest column."""
        rows, others = np.arange(winner.size), logits.copy()
        others[rows, winner] = -np.inf
        rival = others.argmax(axis=1)
        margins = (logits[rows, winner] - logits[rows, rival]).tolist()
        raw_margins = (zero_shot[rows, winner] - zero_shot[rows, rival]).tolist()
        return [
            Confusion(self._classes[other], margin, raw, margin - raw)
            for other, margin, raw in zip(rival.tolist(), margins, raw_margins, strict=True)
        ]


def _text_margin(scores: Scores, *, n: int) -> Float32Array:
    """Per frame: its limit was taken from single ones, and a fused part's zero-shot logits stand for several."""
    margin = text_margin(scores.zero_shot[:n])
    return margin if scores.n_effective is None else margin / scores.n_effective[:n]
