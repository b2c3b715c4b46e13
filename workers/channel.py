"""A Channel joins two stages: bounded per lane, closable, fair between lanes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.interfaces import Clock

T = TypeVar("T")

GAP_SMOOTHING = 0.1  # weight of the newest gap between arrivals: about the last ten arrivals count
MAX_BLOCK_S = 1.0  # longest single wait under the lock; a lost wake-up costs this much at most


class ChannelClosed(Exception):
    """The channel takes nothing more; what it still holds can be taken."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T
    put_at: float  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a taker may decide on."""

    n: int
    oldest_wait_s: float
    gap_s: float  # smoothed time between arrivals over all lanes; infinite before the second arrival


def take_now(_: Waiting) -> float:
    """The hold of a taker that never waits for more."""
    return 0.0


def take_all(n: int) -> int:
    """The rows of a taker without a preferred number."""
    return n


class Channel(Generic[T]):
    """Lanes (one per source) of at most `capacity` items, or as reserved; FIFO each, round robin between them.

    Any number of threads may put; one thread takes.
    """

    def __init__(self, *, capacity: int, clock: Clock) -> None:
        if capacity < 1:
            raise ValueError(f"Channel: capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._clock = clock
        self._lanes: dict[str, deque[_Item[T]]] = {}
        self._capacities: dict[str, int] = {}
        self._order: deque[str] = deque()  # the lane at the left is served next
        self._n = 0
        self._closed = False
        self._gap_s = float("inf")
        self._last_put_at: float | None = None
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def reserve(self, lane: str, *, capacity: int) -> None:
        """Give a lane a capacity of its own, before its first item."""
        self._capacities[lane] = capacity

    def put(self, item: T, *, lane: str) -> float:
        """Append; block while the lane is full. Returns for how long, seconds; 0 where there was room.

        Raises ChannelClosed (the item was not taken).
        """
        with self._not_full:
            queue = self._lane(lane)
            waited_s = 0.0
            if self._full(lane) and not self._closed:
                began_at = self._clock.monotonic()
                while self._full(lane) and not self._closed:
                    self._not_full.wait(MAX_BLOCK_S)
                waited_s = self._clock.monotonic() - began_at
            self._append(queue, item)
            return waited_s

    def put_evicting(self, item: T, *, lane: str) -> T | None:
        """Append; when the lane is full, push out and return its oldest item. Never blocks. Raises ChannelClosed."""
        with self._not_full:
            queue = self._lane(lane)
            evicted = None
            if self._full(lane) and not self._closed:
                evicted = queue.popleft().value
                self._n -= 1
            self._append(queue, item)
            return evicted

    def take(
        self,
        *,
        rows: Callable[[int], int] = take_all,
        hold: Callable[[Waiting], float] = take_now,
        timeout_s: float | None = None,
    ) -> list[T]:
        """At least one item, fairly over the lanes.

        `hold` is asked while items wait and says for how many more seconds to hold out for others, 0 meaning take;
        `rows` then says how many of the n waiting items are wanted.
        Returns [] when closed and empty (see `exhausted`), or after `timeout_s` without an item.
        """
        give_up_at = None if timeout_s is None else self._clock.monotonic() + timeout_s
        with self._not_empty:
            while True:
                pause_s = self._pause(hold, give_up_at)
                if pause_s <= 0.0:
                    break
                self._not_empty.wait(min(pause_s, MAX_BLOCK_S))
            items = self._pop(rows(self._n))
            self._not_full.notify_all()
            return items

    def close(self) -> None:
        """Refuse further puts and wake everybody; items inside can still be taken."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    @property
    def exhausted(self) -> bool:
        """Closed and empty: nothing will ever come again."""
        with self._not_empty:
            return self._closed and self._n == 0

    def holds(self, lane: str) -> bool:
        """Does anything wait in this lane?"""
        with self._not_empty:
            return bool(self._lanes.get(lane))

    def __len__(self) -> int:
        with self._not_empty:
            return self._n

    def _lane(self, lane: str) -> deque[_Item[T]]:
        if lane not in self._lanes:
            self._lanes[lane] = deque()
            self._order.append(lane)
        return self._lanes[lane]

    def _full(self, lane: str) -> bool:
        return len(self._lanes[lane]) >= self._capacities.get(lane, self._capacity)

    def _append(self, queue: deque[_Item[T]], item: T) -> None:
        if self._closed:
            raise ChannelClosed
        now = self._clock.monotonic()
        if self._last_put_at is not None:
            gap = now - self._last_put_at
            known = self._gap_s != float("inf")
            self._gap_s = self._gap_s + GAP_SMOOTHING * (gap - self._gap_s) if known else gap
        self._last_put_at = now
        queue.append(_Item(item, now))
        self._n += 1
        self._not_empty.notify()

    def _pause(self, hold: Callable[[Waiting], float], give_up_at: float | None) -> float:
        """Seconds to wait before looking again; 0 when there is something to return."""
        now = self._clock.monotonic()
        left_s = float("inf") if give_up_at is None else give_up_at - now
        if self._n == 0:
            return 0.0 if self._closed else left_s
        if self._closed:
            return 0.0
        oldest = min(queue[0].put_at for queue in self._lanes.values() if queue)
        return min(hold(Waiting(self._n, now - oldest, self._gap_s)), left_s)

    def _pop(self, limit: int) -> list[T]:
        items: list[T] = []
        while self._n and len(items) < limit:
            queue = self._lanes[self._order[0]]
            self._order.rotate(-1)
            if queue:
                items.append(queue.popleft().value)
                self._n -= 1
        return items
