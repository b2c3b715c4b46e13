"""Frames to one batch from a ladder of fixed sizes, filled by count or deadline; padding starts here.

With the measured cost t(n) = a + b n of one batch, two rules follow and no others are needed:
- hold out for one more frame, expected in g seconds, only while it pays: the n frames that wait end g + b later each,
  the newcomer ends a - g sooner than if it had to wait for a batch of its own, so g < (a - n b) / (n + 1);
- n frames between two sizes are padded up while (size - n) * b < a, else the smaller size is taken first.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.encoders.ladder import BatchCost
from pipeline.types import Batch, Frame, UInt8Array

N_SLOTS = 2  # one batch on the device while the next is filled


class Batcher:
    """Plans batch sizes and fills preallocated buffers. One thread uses it; it keeps no frames.

    A batch's pixels stay valid until `N_SLOTS` more batches have been formed.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        image_size: int,
        max_wait_s: float,
        cost: BatchCost,
        allocate: Callable[[tuple[int, ...]], UInt8Array] = lambda shape: np.empty(shape, np.uint8),
    ) -> None:
        if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
            raise ValueError(f"batch sizes must be ascending, distinct and at least 1, got {list(sizes)}")
        self.sizes = tuple(sizes)
        self._max_wait_s = max_wait_s
        self._cost = cost
        self._slots = [allocate((self.sizes[-1], image_size, image_size, 3)) for _ in range(N_SLOTS)]
        self._next_slot = 0

    @property
    def largest(self) -> int:
        """No batch has more rows than this."""
        return self.sizes[-1]

    def hold_s(self, *, n: int, oldest_wait_s: float, gap_s: float) -> float:
        """For how many seconds to hold out for another frame; 0 when waiting does not pay or the deadline is here."""
        pays_s = (self._cost.a_s - n * self._cost.b_s) / (n + 1)
        if n >= self.largest or gap_s >= pays_s:
            return 0.0
        return max(0.0, min(self._max_wait_s, pays_s) - oldest_wait_s)

    def rows_for(self, n: int) -> int:
        """How many of n waiting frames the next batch takes."""
        if n >= self.largest:
            return self.largest
        upper = self.sizes[bisect.bisect_left(self.sizes, n)]
        below = bisect.bisect_right(self.sizes, n) - 1
        if upper == n or below < 0 or (upper - n) * self._cost.b_s < self._cost.a_s:
            return n
        return self.sizes[below]

    def fill(self, frames: Sequence[Frame], *, now: float) -> Batch:
        """Copy up to `largest` frames into the next buffer; rows beyond them are zero."""
        n = len(frames)
        size = self.sizes[bisect.bisect_left(self.sizes, n)]
        slot = self._next_slot
        self._next_slot = (slot + 1) % N_SLOTS
        pixels = self._slots[slot][:size]
        for row, frame in enumerate(frames):
            pixels[row] = frame.image
        pixels[n:] = 0
        return Batch(
            pixels=pixels,
            refs=tuple(frame.ref for frame in frames),
            evidence=tuple(frame.evidence for frame in frames),
            formed_at=now,
            slot=slot,
        )
