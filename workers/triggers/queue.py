"""Triggers between whoever gives them and the sources that wait: bounded, never blocking, counted."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import ClearlineError
from pipeline.interfaces import Clock

LONGEST_PART = 100  # characters of a part id: it travels in headers, file names of others and logs

Fire = Callable[[str, str | None], str]  # (camera, part id or None for one of ours) -> the part id
Note = Callable[[str, str], None]  # (camera, what): given | overflow | missed


class TriggerRefused(ClearlineError):
    """The trigger was not taken; the message says why, `reason` is unknown_camera, part or overflow."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class TriggerInput(Protocol):
    """Where triggers of some cameras come in from: it is given a `Fire` when made, and calls it from its own thread.

    `Fire` never blocks and may be called from any thread; it raises TriggerRefused, which the input passes on to
    whoever triggered (a status code, a node's value) or logs.
    """

    def start(self) -> None:
        """Listen. Raises SinkError where the port or the server cannot be had at all; else connects in its own time."""
        ...

    def close(self) -> None:
        """End soon; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Trigger:
    """A part is under the camera."""

    part: str
    at: float  # UTC, seconds since 1970: pictures taken before show something else


class TriggerQueue:
    """One camera's triggers, oldest first. Any thread may put; one thread takes."""

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: deque[Trigger] = deque()

    def put(self, trigger: Trigger) -> bool:
        """False where as many wait as may: the new one is not taken, since those before it are already late."""
        with self._lock:
            if len(self._waiting) >= self._capacity:
                return False
            self._waiting.append(trigger)
            return True

    def take(self, *, until: float) -> Trigger | None:
        """The oldest one given at or before `until` (UTC); None where there is none."""
        with self._lock:
            if self._waiting and self._waiting[0].at <= until:
                return self._waiting.popleft()
            return None


class Triggers:
    """All triggered cameras of a process; `fire` is what every input calls."""

    def __init__(self, queues: Mapping[str, TriggerQueue], *, clock: Clock, note: Note) -> None:
        self._queues = queues
        self._clock = clock
        self._note = note

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those that can be triggered."""
        return tuple(self._queues)

    def fire(self, camera: str, part: str | None = None) -> str:
        """A part is there now. Returns its id, made here where none is given. Raises TriggerRefused; never blocks."""
        queue = self._queues.get(camera)
        if queue is None:
            known = ", ".join(self._queues) or "none"
            raise TriggerRefused(
                f"trigger: expected a triggered camera ({known}), got {camera[:LONGEST_PART]!r}",
                reason="unknown_camera",
            )
        part = secrets.token_hex(8) if part is None else checked_part(part)
        if not queue.put(Trigger(part, self._clock.utc())):
            self._note(camera, "overflow")
            raise TriggerRefused(
                f"trigger: {camera} has as many triggers waiting as it may (trigger.queue); "
                "no picture comes, or parts come faster than pictures",
                reason="overflow",
            )
        self._note(camera, "given")
        return part


def checked_part(part: str) -> str:
    """The id as it is. Raises TriggerRefused for one that is empty, long, or holds what cannot be printed."""
    if not 0 < len(part) <= LONGEST_PART or not part.isprintable():
        raise TriggerRefused(
            f"trigger: expected a part id of 1 to {LONGEST_PART} printable characters, got {part[:LONGEST_PART]!r}",
            reason="part",
        )
    return part
