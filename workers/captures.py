"""All sources of a process as one stage: their threads, their states, their balance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.interfaces import SettlingSource, Source
from workers.backoff import Backoff
from workers.capture import Capture, Cut, Item, SourceState
from workers.channel import Channel
from workers.clock import SystemClock
from workers.ledger import Counts, Ledger
from workers.metrics.registry import Metrics

SETTLE_S = 3.0  # for a source to make its last acknowledgements durable


@dataclass(frozen=True, slots=True)
class Feed:
    """A source with what its capture needs to know to read it."""

    source: Source
    cuts: Callable[[str], Mapping[str, Cut]]  # of a camera, by region id
    drop_oldest: bool
    queue_frames: int  # that may wait for the next stage
    backoff_initial_s: float
    backoff_cap_s: float
    evidence_quality: int | None = None  # of the JPEG made of pictures that come without one; None: none is made
    on_wait: Callable[[float], None] | None = None  # told how long the source stood still before a full queue, seconds
    evidence_every_s: float = 0.0  # at least so long between two of them


class Captures:
    """One thread per feed. `runs` are theirs; everything else may be called from any."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        *,
        frames: Channel[Item],
        ledger: Ledger,
        metrics: Metrics,
        clock: SystemClock,
    ) -> None:
        """`clock` is the one the sources wait on: it is closed with them."""
        self._frames, self._ledger, self._metrics, self._clock = frames, ledger, metrics, clock
        self._captures = [self._make(feed) for feed in feeds]

    @property
    def runs(self) -> list[Callable[[], None]]:
        """One per thread; each returns at the end of its source or after `close`."""
        return [one.run for one in self._captures]

    def close(self) -> None:
        """Stop all sources soon."""
        self._clock.close()
        for capture in self._captures:
            capture.close()

    @property
    def settle_s(self) -> float:
        """The longest that `settle` takes."""
        return SETTLE_S * len(self._settling())

    def settle(self) -> None:
        """After the last acknowledgement: let sources that keep them finish."""
        for source in self._settling():
            source.settle(timeout_s=SETTLE_S)

    def _settling(self) -> list[SettlingSource]:
        return [one.source for one in self._captures if isinstance(one.source, SettlingSource)]

    def unready(self) -> list[str]:
        """Why no frames flow; empty when they do."""
        states = [one.status.state for one in self._captures]
        quiet = all(state in (SourceState.CONNECTING, SourceState.BACKOFF) for state in states)
        return ["no source is streaming"] if quiet else []

    def status(self) -> dict[str, Any]:
        """What /status says of every source."""
        counts = self._ledger.counts()
        return {one.source.source_id: _status(one, counts[one.source.source_id]) for one in self._captures}

    def _make(self, feed: Feed) -> Capture:
        self._frames.reserve(feed.source.source_id, capacity=feed.queue_frames)
        return Capture(
            feed.source,
            cuts=feed.cuts,
            frames=self._frames,
            ledger=self._ledger,
            backoff=Backoff(
                initial_s=feed.backoff_initial_s,
                cap_s=feed.backoff_cap_s,
                rng=random.Random(feed.source.source_id),
            ),
            clock=self._clock,
            drop_oldest=feed.drop_oldest,
            on_state=self._on_state,
            on_frame=self._metrics.frame_came,
            evidence_quality=feed.evidence_quality,
            on_wait=feed.on_wait,
            evidence_every_s=feed.evidence_every_s,
        )

    def _on_state(self, source_id: str, state: str) -> None:
        self._metrics.source_state(source_id, state)
        if state == SourceState.BACKOFF:
            self._metrics.reconnected(source_id)


def _status(capture: Capture, counts: Counts) -> dict[str, Any]:
    status = capture.status
    return {
        "state": status.state.value,
        "reconnects": status.n_reconnects,
        "last_frame_at": status.last_frame_at,
        "last_error": status.last_error,
        **counts_as_json(counts),
    }


def counts_as_json(counts: Counts) -> dict[str, Any]:
    """The balance in the words of the summary; `dropped` and `dead_lettered` are totals, their reasons beside them."""
    return {
        "captured": counts.captured,
        "delivered": counts.delivered,
        "dropped": sum(counts.dropped.values()),
        "dropped_by_reason": counts.dropped,
        "dead_lettered": sum(counts.dead_lettered.values()),
        "dead_lettered_by_reason": counts.dead_lettered,
        "in_flight": counts.in_flight,
    }
