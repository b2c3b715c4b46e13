"""What is known of a challenger before it sees a frame: its scores, its time, and the founders under both heads."""

from __future__ import annotations

from statistics import median

import numpy as np

from pipeline.adaptation.gate.values import CandidateFacts, GoldenClass, GoldenResult, StaticChecks
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.heads.bundles.evidence import SupportIndex
from pipeline.interfaces import Clock
from pipeline.types import Features, Float32Array

PROBE_ROWS = 64
PROBES = 9  # timings, of which the median counts
SLOWER_ALLOWED = 5.0  # times the champion's; both are a few per cent of the encoder
GOLDEN_LEAST = 30  # founders of a class that are judged by themselves; smaller classes are judged together
TOGETHER = "all small classes"
HALF_PRECISION = 2e-3  # the store keeps unit rows in fp16
FOUNDER = "founder-"  # what the store puts before the name of a picture that the first head was fitted on


def candidate_facts(
    challenger: HeadBundle, *, champion: HeadBundle, promotions_today: int, clock: Clock
) -> CandidateFacts:
    """Challengers are fitted twice, and refused where the two differ: here a rebuild is always equal."""
    rows = _probe(challenger)
    ours, theirs = (b.head.score(Features(image=rows)).logits for b in (challenger, champion))
    slow = _seconds(challenger, rows=rows, clock=clock), _seconds(champion, rows=rows, clock=clock)
    static = StaticChecks(
        finite=bool(np.isfinite(ours).all()),
        same_classes=challenger.head.classes == champion.head.classes,
        norm_ratio=float(ours.std() / max(float(theirs.std()), 1e-9)),
        latency_ratio=slow[0] / (SLOWER_ALLOWED * slow[1]) if slow[1] else 0.0,
        rebuild_equal=True,
    )
    before, after = champion.evidence.support, challenger.evidence.support
    assert after is not None  # every challenger is written with its support set
    return CandidateFacts(
        static=static,
        golden=_golden(challenger, champion=champion),
        founders_unchanged=before is None or founders_kept(before, after=after),
        replaced_share={} if before is None else replaced_shares(before, after=after),
        promotions_today=promotions_today,
    )


def founders_kept(before: SupportIndex, *, after: SupportIndex) -> bool:
    """Is every founder the picture that it was? The first head knew them under their own names, and maybe more."""
    old = {name.removeprefix(FOUNDER): row for name, row in zip(before.names, before.image, strict=True)}
    new = {
        name.removeprefix(FOUNDER): row
        for name, row in zip(after.names, after.image, strict=True)
        if name.startswith(FOUNDER)
    }
    gone = {name.removeprefix(FOUNDER) for name in before.names if name.startswith(FOUNDER)} - new.keys()
    same = all(name in old and np.allclose(old[name], row, atol=HALF_PRECISION) for name, row in new.items())
    return same and not gone


def replaced_shares(before: SupportIndex, *, after: SupportIndex) -> dict[str, float]:
    """By class number, how many of the rows that taught the champion no longer teach.

    Of a first head, which was not fitted from the store, nothing is known: {}.
    """
    if not any(name.startswith(FOUNDER) for name in before.names):
        return {}
    kept = {(name, int(label)) for name, label in zip(after.names, after.labels, strict=True)}
    shares = {}
    for label in np.unique(before.labels).tolist():
        old = [name for name, own in zip(before.names, before.labels, strict=True) if own == label]
        shares[str(label)] = sum((name, label) not in kept for name in old) / len(old)
    return shares


def _probe(bundle: HeadBundle) -> Float32Array:
    assert bundle.evidence.support is not None  # every challenger is written with its support set
    return bundle.evidence.support.image[:PROBE_ROWS]


def _seconds(bundle: HeadBundle, *, rows: Float32Array, clock: Clock) -> float:
    taken = []
    for _ in range(PROBES):
        began_at = clock.monotonic()
        bundle.head.score(Features(image=rows))
        taken.append(clock.monotonic() - began_at)
    return median(taken)


def _golden(challenger: HeadBundle, *, champion: HeadBundle) -> GoldenResult:
    """The founders under both heads. Both were fitted on them: one that now comes out wrong was outvoted by labels."""
    support = challenger.evidence.support
    assert support is not None  # every challenger is written with its support set
    mine = np.array([name.startswith(FOUNDER) for name in support.names], np.bool_)
    rows, labels = Features(image=support.image[mine]), support.labels[mine]
    if not labels.size:
        return GoldenResult({})
    old, new = (one.head.score(rows).logits.argmax(axis=1) == labels for one in (champion, challenger))
    small = np.bincount(labels, minlength=len(challenger.head.classes)) < GOLDEN_LEAST
    names = np.where(small[labels], TOGETHER, np.array(challenger.head.classes)[labels])
    return GoldenResult(
        {
            str(name): GoldenClass(
                int((names == name).sum()), int(old[names == name].sum()), int(new[names == name].sum())
            )
            for name in np.unique(names)
        }
    )
