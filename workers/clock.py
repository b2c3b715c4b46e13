"""The clock that the process hands to everything that needs time, and that wakes all waits when it closes."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """Real time; `close` ends every `wait` at once. Any thread may call it."""

    def __init__(self) -> None:
        self._closing = threading.Event()

    def monotonic(self) -> float:
        """Seconds, never going back."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def wait(self, seconds: float) -> bool:
        """Sleep for at most `seconds`; True when woken early because the owner is closing."""
        return self._closing.wait(max(0.0, seconds))

    def close(self) -> None:
        """Wake all waits, now and later."""
        self._closing.set()
