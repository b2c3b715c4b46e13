"""Which exemplars a class keeps: those near its mean, a fair draw of the recent ones, and the hard ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.support.exemplars import Caps, Role

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Indices = npt.NDArray[np.int64]


def herd(embeddings: FloatArray, *, n: int, kept: FloatArray | None = None) -> Indices:
    """Up to n of N rows, in the order they were chosen: each brings the mean of the chosen nearest to the mean of all.

    Herding as in iCaRL (Rebuffi et al., 2017), eq. 4. `kept` (M, D) are chosen already: they count in both means.
    """
    x = embeddings.astype(np.float64)
    start = np.zeros((0, x.shape[1])) if kept is None else kept.astype(np.float64)
    mean = np.concatenate([start, x]).mean(axis=0) if x.size else np.zeros(x.shape[1])
    total, free = start.sum(axis=0), np.ones(len(x), np.bool_)
    lengths, chosen = (x**2).sum(axis=1), list[int]()
    for count in range(len(start) + 1, len(start) + 1 + min(n, len(x))):
        wanted = count * mean - total  # the row that would make the mean exact
        distance = np.where(free, lengths - 2.0 * (x @ wanted), np.inf)
        best = int(distance.argmin())
        chosen.append(best)
        free[best] = False
        total += x[best]
    return np.asarray(chosen, np.int64)


def draw_recent(
    event_ids: Sequence[str], *, added_at: npt.NDArray[np.float64], at: float, n: int, max_age_s: float, seed: int
) -> Indices:
    """A uniform draw of n rows no older than `max_age_s`, ascending.

    The n smallest keyed hashes of the ids (bottom-k sampling): a reservoir that does not depend on the order in which
    rows came, so it can be drawn again from what is left.
    """
    young = np.flatnonzero(at - added_at <= max_age_s)
    keys = [
        hashlib.blake2b(event_ids[i].encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
        for i in young.tolist()
    ]
    order = sorted(range(len(young)), key=lambda k: keys[k])[:n]
    return np.sort(young[order]).astype(np.int64)


def hardest(margins: npt.NDArray[np.float64], *, double_labelled: npt.NDArray[np.bool_], n: int) -> Indices:
    """The n lowest margins among rows that two people agree on, lowest first; a row without margin is NaN.

    One person's label is not enough: the hardest rows of a class are where its wrong labels are.
    """
    usable = np.flatnonzero(double_labelled & np.isfinite(margins))
    return usable[np.argsort(margins[usable], kind="stable")][:n].astype(np.int64)


def assign_roles(
    event_ids: Sequence[str],
    *,
    embeddings: FloatArray,
    founders: FloatArray,
    margins: npt.NDArray[np.float64],
    double_labelled: npt.NDArray[np.bool_],
    added_at: npt.NDArray[np.float64],
    at: float,
    caps: Caps,
    seed: int = 0,
) -> tuple[Role | None, ...]:
    """The role of each of N rows of one class and context; None is for rows beyond the caps.

    The order of the rows does not matter. Founders (M, D) are given, and count when the herd is chosen.
    """
    order = np.asarray(sorted(range(len(event_ids)), key=lambda i: event_ids[i]), np.int64)
    roles: dict[int, Role] = {}
    for i in order[hardest(margins[order], double_labelled=double_labelled[order], n=caps.hard)]:
        roles[int(i)] = Role.HARD
    rest = np.asarray([i for i in order if int(i) not in roles], np.int64)
    ids = [event_ids[i] for i in rest]
    drawn = draw_recent(ids, added_at=added_at[rest], at=at, n=caps.recent, max_age_s=caps.recent_age_s, seed=seed)
    for i in rest[drawn]:
        roles[int(i)] = Role.RECENT
    rest = np.asarray([i for i in rest if int(i) not in roles], np.int64)
    chosen = herd(embeddings[rest], n=caps.herd, kept=founders)
    for i in rest[chosen]:
        roles[int(i)] = Role.HERD
    return tuple(roles.get(i) for i in range(len(event_ids)))
