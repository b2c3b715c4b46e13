"""A batch of questions to people: what was asked, what came back, whether it is to be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.adaptation.gate.values import Honeypot, LabelBatch, LabelledPart, LabelStream
from pipeline.adaptation.support.labels import Label


@dataclass(frozen=True, slots=True)
class Drawn:
    """One part of a batch as the heads decided it."""

    champion: int
    challenger: int | None
    confidence: float
    inclusion: float


@dataclass(frozen=True, slots=True)
class Questions:
    """Asked together, and believed or doubted together."""

    name: str
    asked_at: float
    expires_at: float
    parts: Mapping[str, Drawn]  # by event id
    honeypots: Mapping[str, str]  # event id -> true class
    n_agreed: int = 0  # frames of the pool on which the heads agree
    n_passed_over: int = 0  # disagreements of the pool that were not drawn

    def to_plain(self) -> dict[str, Any]:
        """For the book."""
        parts = {one: [d.champion, d.challenger, d.confidence, d.inclusion] for one, d in self.parts.items()}
        return {
            "name": self.name,
            "asked_at": self.asked_at,
            "expires_at": self.expires_at,
            "parts": parts,
            "honeypots": dict(self.honeypots),
            "n_agreed": self.n_agreed,
            "n_passed_over": self.n_passed_over,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Questions:
        """What `to_plain` gave."""
        return cls(**{**plain, "parts": {one: Drawn(*values) for one, values in plain["parts"].items()}})


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back, when all has, or when time was up."""

    labels: Mapping[str, tuple[Label, ...]]  # by event id, the one that counts of each labeller
    honeypots: Mapping[str, tuple[Label, ...]]


def as_batch(questions: Questions, *, answers: Answers, index: Mapping[str, int], stream: LabelStream) -> LabelBatch:
    """For the screens and the gate. Classes that the heads do not know have number -1: neither head was right."""
    parts = []
    for event_id, drawn in questions.parts.items():
        labels = answers.labels.get(event_id, ())
        known = [one for one in labels if one.label in index]
        if not known:
            continue  # a class no head knows costs both the same; the questions still count as answered by time
        parts.append(
            LabelledPart(
                event_id=event_id,
                truth=index[known[0].label],
                labeller=known[0].labeller,
                stream=stream,
                champion=drawn.champion,
                champion_confidence=drawn.confidence,
                challenger=drawn.challenger,
                inclusion=drawn.inclusion,
                blind=known[0].blind,
                second=index[known[1].label] if len(known) > 1 else None,
            )
        )
    honeypots = [
        Honeypot(event_id, index[truth], index.get(label.label, -1), label.labeller)
        for event_id, truth in questions.honeypots.items()
        for label in answers.honeypots.get(event_id, ())[:1]
        if truth in index
    ]
    return LabelBatch(questions.name, tuple(parts), tuple(honeypots))
