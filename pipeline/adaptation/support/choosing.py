"""Which frames to ask people about: three disjoint streams, each with the probability of having been asked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.support.labels import Stream
from pipeline.errors import DataError
from pipeline.types import Decision, Float32Array

LOW_MARGIN_SHARE = 0.2
HONEYPOTS_PER_LABEL = 1 / 8  # 8 among 72; a batch that says "all good" misses 7 of them

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """A frame to ask about."""

    event_id: str
    stream: Stream
    why: str  # margin, novelty, random, accepted, rejected, disagreement, honeypot
    inclusion_probability: float  # exact for audit, gate and random; of margin, the share of its stratum
    truth: str | None = None  # of a honeypot; the labeller never sees it
    mixed_into: Stream | None = None  # of a honeypot: the stream it hides in


@dataclass(frozen=True, slots=True, eq=False)
class TeachPool:
    """Decided frames to choose from; rows in any order."""

    event_ids: Sequence[str]
    embeddings: Float32Array  # (N, D)
    margins: Float32Array  # (N,), top-two gap, small is unsure
    novelty: Float32Array  # (N,), large is far from all known classes
    runs: Indices  # (N,), class run on the line, see `class_runs`


def class_runs(sources: Sequence[str], *, labels: Sequence[str]) -> Indices:
    """(N,): numbers stretches of one label on one source; rows in the order they were captured.

    Parts of one run are nearly the same part: one label is enough for them.
    """
    open_run: dict[str, tuple[str, int]] = {}
    numbers, n_runs = list[int](), 0
    for source, label in zip(sources, labels, strict=True):
        if source not in open_run or open_run[source][0] != label:
            open_run[source] = (label, n_runs)
            n_runs += 1
        numbers.append(open_run[source][1])
    return np.asarray(numbers, np.int64)


def choose_teach(
    pool: TeachPool,
    *,
    seed: int,
    asked: Collection[str] = frozenset(),
    n_margin: int = 32,
    n_novelty: int = 16,
    n_random: int = 16,
) -> tuple[Choice, ...]:
    """Frames to learn from: unsure ones spread out, the most novel ones, and random ones; never a frame of `asked`.

    Unsure are the lowest 20 % of margins, one per class run, spread by the seeding of k-means++ (Arthur and
    Vassilvitskii, 2007). The order of the rows does not matter. Not for figures of risk: these frames are not a fair
    sample.
    """
    rng = np.random.default_rng(seed)
    order = _sorted_rows(pool.event_ids, without=asked)
    low = order[np.argsort(pool.margins[order], kind="stable")][: math.ceil(LOW_MARGIN_SHARE * len(order))]
    low = _one_per_run(low, runs=pool.runs)
    unsure = low[spread(pool.embeddings[low], n=n_margin, rng=rng)]
    rest = order[~np.isin(order, unsure)]
    far = rest[np.argsort(-pool.novelty[rest], kind="stable")]
    novel = _one_per_run(far, runs=pool.runs)[:n_novelty]
    rest = rest[~np.isin(rest, novel)]
    drawn = rng.permutation(rest)[:n_random]
    choices = [
        (unsure, "margin", len(unsure) / max(len(low), 1)),
        (novel, "novelty", 1.0),
        (drawn, "random", len(drawn) / max(len(rest), 1)),
    ]
    return tuple(Choice(pool.event_ids[i], Stream.TEACH, why, share) for rows, why, share in choices for i in rows)


def choose_audit(
    event_ids: Sequence[str],
    *,
    decisions: Sequence[Decision],
    seed: int,
    asked: Collection[str] = frozenset(),
    accepted_rate: float = 0.005,
    accepted_minimum: int = 30,
    rejected_rate: float = 0.1,
) -> tuple[Choice, ...]:
    """A fair sample of one shift's accepted and of its rejected parts; the only basis for the escape rate.

    A simple random sample of each: every part of a stratum has the same, stated probability. Parts in `asked` are left
    out, so their stream has to be a fair sample too, or few. During probation hand in four times the rates.
    """
    rng, choices = np.random.default_rng(seed), list[Choice]()
    order = _sorted_rows(event_ids, without=asked)
    for decision, rate, minimum, why in (
        (Decision.ACCEPT, accepted_rate, accepted_minimum, "accepted"),
        (Decision.REJECT, rejected_rate, 0, "rejected"),
    ):
        stratum = [int(i) for i in order if decisions[i] is decision]
        n = min(len(stratum), max(minimum, math.ceil(rate * len(stratum))))
        for i in rng.permutation(np.asarray(stratum, np.int64))[:n]:
            choices.append(Choice(event_ids[i], Stream.AUDIT, why, n / len(stratum)))
    return tuple(choices)


def choose_gate(
    event_ids: Sequence[str],
    *,
    champion: Sequence[str],
    challenger: Sequence[str],
    n: int,
    seed: int,
    asked: Collection[str] = frozenset(),
) -> tuple[Choice, ...]:
    """A simple random sample of the frames on which two heads disagree: the others cannot tell them apart."""
    order = _sorted_rows(event_ids, without=asked)
    differ = np.asarray([i for i in order if champion[i] != challenger[i]], np.int64)
    drawn = np.random.default_rng(seed).permutation(differ)[:n]
    return tuple(Choice(event_ids[i], Stream.GATE, "disagreement", len(drawn) / len(differ)) for i in drawn)


def mix_honeypots(
    choices: Sequence[Choice],
    *,
    known: Mapping[str, Sequence[str]],
    seed: int,
    per_label: float = HONEYPOTS_PER_LABEL,
) -> tuple[Choice, ...]:
    """Choices of one stream with parts of known class hidden among them, shuffled: one honeypot for eight labels.

    `known` gives event ids by true class; classes take turns, so that a swap of two classes shows. Raises DataError
    where there are fewer known parts than needed.
    """
    n = math.ceil(per_label * len(choices))
    available = sum(len(events) for events in known.values())
    if available < n:
        raise DataError(f"honeypots: expected at least {n} parts of known class, got {available}; add some to the set")
    rng = np.random.default_rng(seed)
    turns = [list(rng.permutation(sorted(known[name]))) for name in rng.permutation(sorted(known))]
    hidden = list[Choice]()
    labels = {str(event_id): label for label, events in known.items() for event_id in events}
    while len(hidden) < n:
        for events in turns:
            if events and len(hidden) < n:
                event_id, stream = str(events.pop()), choices[0].stream
                hidden.append(Choice(event_id, Stream.HONEYPOT, "honeypot", 1.0, labels[event_id], mixed_into=stream))
    both = [*choices, *hidden]
    return tuple(both[i] for i in rng.permutation(len(both)))


def spread(embeddings: Float32Array, *, n: int, rng: np.random.Generator) -> Indices:
    """Up to n rows, each drawn with a chance that grows with the squared distance to those drawn before."""
    x = embeddings.astype(np.float64)
    if len(x) <= n:
        return np.arange(len(x))
    chosen = [int(rng.integers(len(x)))]
    distance = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < n:
        distance[chosen] = 0.0
        total = distance.sum()
        if total <= 0:  # all that is left is a copy of something chosen
            break
        best = int(rng.choice(len(x), p=distance / total))
        chosen.append(best)
        distance = np.minimum(distance, ((x - x[best]) ** 2).sum(axis=1))
    return np.asarray(chosen, np.int64)


def _sorted_rows(event_ids: Sequence[str], *, without: Collection[str]) -> Indices:
    """Rows by event id, so that neither arrival order nor batch size decides what is drawn."""
    left_out = frozenset(without)
    rows = [i for i in range(len(event_ids)) if event_ids[i] not in left_out]
    return np.asarray(sorted(rows, key=lambda i: event_ids[i]), np.int64)


def _one_per_run(rows: Indices, *, runs: Indices) -> Indices:
    """The first row of each run, in the given order."""
    first = np.unique(runs[rows], return_index=True)[1]
    return rows[np.sort(first)]
