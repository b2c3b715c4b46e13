"""A second head in the shadow of the live one: every frame decided by both, labels on a random draw of what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adaptation.support.choosing import Choice, choose_gate
from pipeline.types import Decision, Features, Float32Array, Prediction
from workers.adaptation.tap import Seen
from workers.inference import LiveHead


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """A frame on which the heads differ; decisions are class numbers, or C for review."""

    prediction: Prediction
    embedding: Float32Array  # (D,)
    live: int
    shadow: int


@dataclass(frozen=True, slots=True)
class Round:
    """What a pool of frames came to when it was closed."""

    n_agreed: int
    n_passed_over: int
    drawn: tuple[Choice, ...]


class Trial:
    """Pools frames, and draws from the pool when it is full: labels drawn as they come would follow product runs."""

    def __init__(self, shadow: LiveHead, *, classes: Sequence[str], pool_frames: int, draw: int, seed: int) -> None:
        self._shadow = shadow
        self._index = {name: number for number, name in enumerate(classes)}
        self._pool_frames, self._draw, self._seed = pool_frames, draw, seed
        self._n_agreed = 0
        self._pool: dict[str, Disagreement] = {}
        self._n_rounds = 0
        self.drawn: dict[str, tuple[Disagreement, float]] = {}  # by event id, with the probability of being drawn
        self.classes_seen: set[int] = set()

    def take(self, seen: Seen) -> Round | None:
        """Decide a batch a second time; a round when the pool is full."""
        shadow = self._decided(seen)
        for row, (one, other) in enumerate(zip(seen.predictions, shadow, strict=True)):
            self.classes_seen.add(int(seen.labels[row]))
            live = self._number(one)
            if live == other:
                self._n_agreed += 1
            else:
                self._pool[one.ref.event_id] = Disagreement(one, seen.image[row], live, other)
        full = self._n_agreed + len(self._pool) >= self._pool_frames
        return self._close() if full else None

    def _decided(self, seen: Seen) -> list[int]:
        scores = self._shadow.head.score(Features(image=seen.image))
        return [self._code(label, verdict) for label, verdict in self._shadow.decider.judge(scores)]

    def _number(self, one: Prediction) -> int:
        return self._code(self._index[one.label], one.decision)

    def _code(self, label: int, decision: Decision) -> int:
        return label if decision in (Decision.ACCEPT, Decision.REJECT) else len(self._index)

    def _close(self) -> Round:
        ids = sorted(self._pool)
        choices = choose_gate(
            ids,
            champion=[str(self._pool[one].live) for one in ids],
            challenger=[str(self._pool[one].shadow) for one in ids],
            n=self._draw,
            seed=self._seed + self._n_rounds,
        )
        self._n_rounds += 1
        for choice in choices:
            self.drawn[choice.event_id] = (self._pool[choice.event_id], choice.inclusion_probability)
        closed = Round(self._n_agreed, len(ids) - len(choices), choices)
        self._pool, self._n_agreed = {}, 0
        return closed


def class_accuracy(
    logits: Float32Array, *, labels: np.ndarray[tuple[int], np.dtype[np.int64]], classes: Sequence[str]
) -> Mapping[str, tuple[int, int]]:
    """Per class: how many were judged, and how many right."""
    right = logits.argmax(axis=1) == labels
    return {
        name: (int((labels == c).sum()), int(right[labels == c].sum()))
        for c, name in enumerate(classes)
        if (labels == c).any()
    }
