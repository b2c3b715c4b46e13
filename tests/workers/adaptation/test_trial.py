"""Two heads on the same parts: when a pool is full, and how much of it is asked about."""

from __future__ import annotations

import math

import numpy as np

from pipeline.decision import Decider, DecisionPolicy, HeadIdentity
from pipeline.types import Features, Scores
from tests.workers.adaptation.test_wire import N, make_seen
from workers.adaptation.trial import INCLUSION, Pool, Trial
from workers.live_head import LiveHead

CLASSES = ("ok", "scratch", "dent")


class OneMind:
    """A head that says the same of every part."""

    name, classes, n_levels = "one mind", CLASSES, 0

    def __init__(self, label: int) -> None:
        self._logits = np.where(np.arange(len(CLASSES)) == label, 9.0, 0.0).astype(np.float32)

    def score(self, features: Features) -> Scores:
        logits = np.tile(self._logits, (len(features.image), 1))
        return Scores(zero_shot=logits, confusion=np.zeros_like(logits), logits=logits)


def live(version: int, *, says: int) -> LiveHead:
    head = OneMind(says)
    identity = HeadIdentity("one mind", version, str(version) * 64, "synthetic")
    policy = DecisionPolicy(good_classes=frozenset({"ok"}))
    return LiveHead(head, Decider(classes=CLASSES, temperature=1.0, policy=policy, identity=identity))  # type: ignore[arg-type]


def pools(trial: Trial, *, n_batches: int) -> list[tuple[int, Pool]]:
    """Parts so far, and the pool that they filled."""
    found = []
    for batch in range(n_batches):
        pool = trial.take(make_seen(first=batch * N), asked=frozenset)
        if pool is not None:
            found.append(((batch + 1) * N, pool))
    return found


def test_heads_that_differ_everywhere_fill_a_pool_with_few_parts() -> None:
    trial = Trial(live(1, says=0), live(2, says=1), n_classes=3, pool_frames=500, seed=2, pool_differing=60)
    at = [n for n, _ in pools(trial, n_batches=40)]
    assert at == [60, 120, 180]
    trial = Trial(live(1, says=0), live(2, says=1), n_classes=3, pool_frames=100, seed=2)
    first = pools(trial, n_batches=20)[0]
    assert (first[0], len(first[1].differing)) == (100, 100)


def test_the_share_that_is_asked_about_is_the_one_declared() -> None:
    trial = Trial(live(1, says=0), live(2, says=1), n_classes=3, pool_frames=500, seed=2, pool_differing=60)
    [(_, pool), *_] = pools(trial, n_batches=12)
    assert len(pool.drawn) == math.ceil(INCLUSION * 60)
    assert pool.n_agreed == 0


def test_heads_that_agree_are_compared_and_nobody_is_asked() -> None:
    trial = Trial(live(1, says=0), live(2, says=0), n_classes=3, pool_frames=100, seed=2, pool_differing=60)
    [(n, pool)] = pools(trial, n_batches=20)
    assert (n, pool.n_agreed, pool.drawn) == (100, 100, ())
