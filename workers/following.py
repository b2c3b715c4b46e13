"""A line whose head is moved by others: the registry's pointer is looked at every second."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from pipeline.errors import ClearlineError
from workers.live_head import LiveHead

log = structlog.get_logger()

LOOK_S = 1.0

Wanted = tuple[int, str, bool]  # version, SHA-256, with a wider review band


class HeadFollower:
    """`run` belongs to one thread, or `look` to that of somebody else; `close` may be called from any."""

    def __init__(
        self,
        *,
        wanted: Callable[[], Wanted],
        load: Callable[[Wanted], LiveHead],
        swap: Callable[[LiveHead], None],
        now: Wanted,
    ) -> None:
        """`load` raises ClearlineError for a head that this line cannot use: then the live one stays."""
        self._wanted, self._load, self._swap = wanted, load, swap
        self._now = now
        self._refused: Wanted | None = None  # told once
        self._closing = threading.Event()

    def run(self) -> None:
        """Look until `close`."""
        while not self._closing.wait(LOOK_S):
            self.look()

    def close(self) -> None:
        """End."""
        self._closing.set()

    def look(self) -> None:
        """Swap where another head, or another band, is wanted."""
        try:
            wanted = self._wanted()
            if wanted in (self._now, self._refused):
                return
            self._refused = wanted
            live = self._load(wanted)
        except (ClearlineError, OSError) as error:
            log.warning("the live head stays", cause=str(error))
            return
        self._swap(live)
        self._now, self._refused = wanted, None
        log.info("head swapped", version=wanted[0], wider_review=wanted[2])
