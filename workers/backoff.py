"""How long to wait before the next attempt: exponential, with jitter, a floor and a cap."""

from __future__ import annotations

import random

from pipeline.errors import ConfigError

MAX_DOUBLINGS = 32  # beyond it any cap is reached; keeps 2**n a small number after days of failing
FLOOR_RATIO = 0.5  # of the first step: jitter near zero would hammer a camera that is just starting


class Backoff:
    """Full jitter (Brooker, "Exponential Backoff And Jitter", 2015): uniform in [floor, min(cap, initial * 2^n)].

    Owned by one thread. Give every owner its own `rng`, so that cameras lost together do not come back together.
    """

    def __init__(self, *, initial_s: float = 0.5, cap_s: float = 30.0, rng: random.Random | None = None) -> None:
        if not 0 < initial_s <= cap_s:
            raise ConfigError(f"backoff: expected 0 < initial_s <= cap_s, got initial_s={initial_s}, cap_s={cap_s}")
        self._initial_s = initial_s
        self._cap_s = cap_s
        self._rng = rng if rng is not None else random.Random()
        self._n_attempts = 0

    @property
    def n_attempts(self) -> int:
        """Delays handed out since the last `reset`."""
        return self._n_attempts

    def next_delay(self) -> float:
        """Seconds to wait before the next attempt; at most `cap_s`."""
        step = self._initial_s * 2.0 ** min(self._n_attempts, MAX_DOUBLINGS)
        self._n_attempts += 1
        return self._rng.uniform(self._initial_s * FLOOR_RATIO, min(self._cap_s, step))

    def reset(self) -> None:
        """The attempt succeeded (a frame came, not merely a connection): start from `initial_s` again."""
        self._n_attempts = 0
