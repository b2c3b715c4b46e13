"""How often one client may try, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from pipeline.interfaces import Clock

MAX_CLIENTS = 4096  # remembered at once; the one seen longest ago is forgotten first


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of `burst` tries that refills with `per_s`."""

    per_s: float
    burst: float


class RateLimit:
    """Tries per client; any thread may ask."""

    def __init__(self, rate: Rate, *, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tries left, as of

    def wait_s(self, client: str) -> float:
        """0 where a try is left, else how long until there is one."""
        with self._lock:
            left, _ = self._now(client)
        return max(0.0, 1.0 - left) / self._rate.per_s

    def spend(self, client: str, *, n: float = 1.0) -> None:
        """Take `n` tries, also more than are left: then the client waits until the debt is paid."""
        with self._lock:
            left, now = self._now(client)
            self._left[client] = (left - n, now)

    def _now(self, client: str) -> tuple[float, float]:
        now = self._clock.monotonic()
        left, as_of = self._left.pop(client, (self._rate.burst, now))
        left = min(self._rate.burst, left + (now - as_of) * self._rate.per_s)
        self._left[client] = (left, now)
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)
        return left, now
