"""Frames of parts to one decision each: the inference thread's hands around the assembler and the fusion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.decision import HeadIdentity
from pipeline.interfaces import Clock
from pipeline.parts import Assembler, IntraclassCorrelation, Member, Part, PartRule, fuse
from pipeline.types import Batch, BatchTiming, Features, FrameRef, Prediction, Scores
from workers.live_head import LiveHead, TapLike

MOST_CAMERAS = 1024  # whose correlation is remembered


@dataclass(frozen=True, slots=True)
class PartsPlan:
    """What makes parts of frames on a line."""

    rule_of: Callable[[FrameRef], PartRule | None]  # of its camera; None: the frame is decided alone
    on_part: Callable[[str, str], None]  # (camera, what closed the part)
    on_correlation: Callable[[str, float], None]  # (camera, what is measured by now)


class PartDecisions:
    """Owned by the inference thread. A part meets the head that is live when it closes, and no other."""

    def __init__(self, plan: PartsPlan, *, clock: Clock, tap: TapLike | None) -> None:
        self._plan = plan
        self._clock = clock
        self._tap = tap
        self._assembler = Assembler()
        self._measured: OrderedDict[str, IntraclassCorrelation] = OrderedDict()  # by camera, longest unused first
        self._measured_of: HeadIdentity | None = None

    def takes(self, ref: FrameRef) -> bool:
        """Does this camera have parts? Else the frame is decided alone."""
        return self._plan.rule_of(ref) is not None

    def add(self, batch: Batch, *, row: int, features: Features, infer_s: float) -> tuple[list[Part], bool]:
        """Parts that this row of an encoded batch closed, and whether it was taken (False: its part is closed)."""
        ref = batch.refs[row]
        rule = self._plan.rule_of(ref)
        assert rule is not None  # `takes` was asked
        one = Member(
            ref=ref,
            features=_row(features, row),
            evidence=batch.evidence[row],
            timing=BatchTiming(batch.size, batch.n_real, batch.formed_at - ref.received_at, infer_s),
            pixels=batch.pixels[row].copy(),
        )
        return self._assembler.add(one, rule=rule)

    def due(self, *, quiet: Callable[[str], bool]) -> list[Part]:
        """Parts whose time is over, of sources of which nothing is under way."""
        return self._assembler.due(self._clock.monotonic(), quiet=quiet)

    def drain(self) -> list[Part]:
        """All that are open."""
        return self._assembler.drain()

    def wait_s(self, longest_s: float) -> float:
        """How long nothing is due, at most `longest_s`."""
        due_at = self._assembler.next_due_at()
        return longest_s if due_at is None else min(longest_s, max(0.0, due_at - self._clock.monotonic()))

    def decide(self, parts: Sequence[Part], *, live: LiveHead) -> list[Prediction]:
        """One prediction per part, in order. Raises what the head raises; then nothing was counted."""
        if not parts:
            return []
        sizes = [len(part.members) for part in parts]
        rows = live.head.score(_stacked([member for part in parts for member in part.members]))
        correlation = [self._correlation(part, live=live) for part in parts]
        scores = fuse(rows, sizes=sizes, correlation=correlation)
        now = self._clock.monotonic()
        first = [part.members[0] for part in parts]
        batch = Batch(
            pixels=np.stack([member.pixels for member in first if member.pixels is not None]),
            refs=tuple(member.ref for member in first),
            evidence=tuple(member.evidence for member in first),
            formed_at=now,
            slot=0,
        )
        decided = live.decider.decide(scores, batch=batch, decided_at=now, infer_s=0.0)
        predictions = [
            replace(one, members=tuple(member.ref for member in part.members), timing=part.members[0].timing)
            for one, part in zip(decided, parts, strict=True)
        ]
        self._note(parts, rows=rows, labels=scores.logits.argmax(axis=1).tolist())
        if self._tap is not None:
            # One row per decision: charts and audits count parts, and frames of one part are no independent samples.
            # Its embedding is the first frame's, as is its picture: what a person labels is what a head learns.
            self._tap(batch, _stacked(first), scores, predictions, live)
        return predictions

    def _correlation(self, part: Part, *, live: LiveHead) -> float:
        if part.rule.correlation is not None:
            return part.rule.correlation
        if live.decider.identity != self._measured_of:  # another head errs in its own way
            self._measured.clear()
            self._measured_of = live.decider.identity
        camera = part.members[0].ref.source_id
        measured = self._measured.pop(camera, None) or IntraclassCorrelation()
        self._measured[camera] = measured
        if len(self._measured) > MOST_CAMERAS:
            self._measured.popitem(last=False)
        return measured.value

    def _note(self, parts: Sequence[Part], *, rows: Scores, labels: Sequence[int]) -> None:
        """Learn from parts that are decided, and tell."""
        start = 0
        for part, label in zip(parts, labels, strict=True):
            camera, end = part.members[0].ref.source_id, start + len(part.members)
            self._plan.on_part(camera, part.closed_by)
            if part.rule.correlation is None:
                self._measured[camera].add(rows.logits[start:end], label=label)
                self._plan.on_correlation(camera, self._measured[camera].value)
            start = end


def _row(features: Features, row: int) -> Features:
    """One row with memory of its own: an encoder may use its buffers again."""
    return Features(
        features.image[row : row + 1].copy(), tuple(level[row : row + 1].copy() for level in features.levels)
    )


def _stacked(members: Sequence[Member]) -> Features:
    """(N, D) and (N, 2W) per level."""
    levels = zip(*(member.features.levels for member in members), strict=True)
    return Features(
        np.concatenate([member.features.image for member in members]), tuple(np.concatenate(one) for one in levels)
    )
