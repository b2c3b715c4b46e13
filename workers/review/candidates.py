"""Parts of a line that a person might label to start with, and which of them to show next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.types import Float32Array, FrameRef

MOST_PARTS = 512
MOST_BYTES = 96_000_000  # of their pictures
HELD_S = 600.0  # what a page holds is not given up before


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A part with the picture it was seen in."""

    ref: FrameRef
    label: str  # what the line said
    embedding: Float32Array  # (D,), unit norm
    picture: bytes  # JPEG or PNG, whole, as the camera gave it


Stratum = tuple[str, str, str]  # camera, region, what the line said


class Candidates:
    """The newest of every camera, region and answer; where there are too many, the fullest of these gives one up."""

    def __init__(self, *, most_parts: int = MOST_PARTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_parts, self._most_bytes = most_parts, most_bytes
        self._strata: dict[Stratum, dict[str, Candidate]] = {}
        self._held_at: dict[str, float] = {}  # shown to somebody, by event id
        self._n_parts = self._n_bytes = 0

    def add(self, one: Candidate, *, at: float) -> None:
        """Keep it, and give up others for it."""
        stratum = (one.ref.source_id, one.ref.roi_id, one.label)
        self._strata.setdefault(stratum, {})[one.ref.event_id] = one
        self._n_parts += 1
        self._n_bytes += len(one.picture)
        while (self._n_parts > self._most_parts or self._n_bytes > self._most_bytes) and self._give_up(at=at):
            pass

    def get(self, event_id: str) -> Candidate | None:
        """None where it is no longer kept."""
        return next((parts[event_id] for parts in self._strata.values() if event_id in parts), None)

    def free(self, *, left_out: Collection[str]) -> list[Candidate]:
        """All but those."""
        return [one for parts in self._strata.values() for event_id, one in parts.items() if event_id not in left_out]

    def hold(self, chosen: Collection[Candidate], *, at: float) -> None:
        """Somebody is looking at these."""
        self._held_at = {one: since for one, since in self._held_at.items() if at - since < HELD_S}
        self._held_at.update((one.ref.event_id, at) for one in chosen)

    def is_held(self, event_id: str, *, at: float) -> bool:
        """Is somebody looking at it?"""
        return at - self._held_at.get(event_id, -HELD_S) < HELD_S

    def _give_up(self, *, at: float) -> bool:
        for parts in sorted(self._strata.values(), key=len, reverse=True):
            for event_id in parts:
                if not self.is_held(event_id, at=at):
                    self._n_bytes -= len(parts.pop(event_id).picture)
                    self._n_parts -= 1
                    return True
        return False


def choose(
    free: list[Candidate],
    *,
    n: int,
    missing: Mapping[str, float],
    chances: Callable[[str], Mapping[str, float]],
    near_to: Collection[Float32Array],
) -> list[Candidate]:
    """The next `n`: of the answer of the line that is likeliest to fill a class that is short of pictures.

    `missing` are pictures by class; `chances(answer)` is how often people say each class where the line says `answer`.
    Of that answer each camera in turn, and each part as unlike as can be to what was shown before: parts that the line
    takes for another class are among the odd ones.
    """
    short, n_of, n_at = dict(missing), Counter[str](), Counter[tuple[str, str]]()
    likeness = _likeness(free, near_to=near_to)
    chosen, left = list[Candidate](), set(range(len(free)))
    while left and len(chosen) < n:
        gains = {
            name: sum(p * short[c] for c, p in chances(name).items()) for name in {free[row].label for row in left}
        }
        best = min(gains, key=lambda name: (-gains[name], n_of[name], name))
        among = [row for row in left if free[row].label == best]
        place = min((n_at[_place(free[row])], _place(free[row])) for row in among)[1]
        row = min((row for row in among if _place(free[row]) == place), key=lambda one: (likeness[one], one))
        left.remove(row)
        chosen.append(free[row])
        n_of[best] += 1
        n_at[place] += 1
        short |= {c: max(0.0, short[c] - p) for c, p in chances(best).items()}
        likeness = np.maximum(likeness, _likeness(free, near_to=[free[row].embedding]))
    return chosen


def _likeness(free: list[Candidate], *, near_to: Collection[Float32Array]) -> Float32Array:
    """(n,): cosine to the nearest of those."""
    if not free or not near_to:
        return np.full(len(free), -1.0, np.float32)
    out: Float32Array = (np.stack([one.embedding for one in free]) @ np.stack(list(near_to)).T).max(axis=1)
    return out


def _place(one: Candidate) -> tuple[str, str]:
    return one.ref.source_id, one.ref.roi_id
