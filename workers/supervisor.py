"""Starts the threads, closes each stage when the one before it has ended, and everything when a thread dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pipeline.errors import ClearlineError, ShutdownTimeout, WorkerDied
from pipeline.interfaces import Clock

log = structlog.get_logger()

GRACE_S = 1.0  # for the last words of a stage that was abandoned
RESERVED_RATIO = 0.75  # of the time for a stop: the most that is kept for last words


@dataclass(frozen=True, slots=True)
class Stage:
    """Threads that end together: `run` of each is its own thread, `close` asks all of them to finish what they hold.

    `abandon` is called when time is running out: give up what you hold, count it, end within `grace_s`.
    """

    name: str
    runs: Sequence[Callable[[], None]]
    close: Callable[[], None]
    abandon: Callable[[], None] = lambda: None
    grace_s: float = GRACE_S


class Supervisor:
    """Owned by the main thread. `stages` are in the order in which frames flow."""

    def __init__(self, stages: Sequence[Stage], *, clock: Clock) -> None:
        self._stages = stages
        self._clock = clock
        self._changed = threading.Event()
        self._failure: tuple[str, BaseException] | None = None
        self._threads: dict[str, list[threading.Thread]] = {}
        self._lock = threading.Lock()
        self._n_running = [len(stage.runs) for stage in stages]

    def start(self) -> None:
        """Start every thread, the last stage first, so that nothing flows into the void."""
        for index, stage in reversed(list(enumerate(self._stages))):
            self._threads[stage.name] = [
                threading.Thread(target=self._guard, args=(index, name, run), name=name, daemon=True)
                for name, run in ((f"{stage.name}-{n}", run) for n, run in enumerate(stage.runs))
            ]
            for thread in self._threads[stage.name]:
                thread.start()

    @property
    def failure(self) -> tuple[str, BaseException] | None:
        """Name and cause of the first thread that died, if one did."""
        return self._failure

    @property
    def finished(self) -> bool:
        """The first stage has ended by itself (finite sources) or a thread has died."""
        first = self._threads[self._stages[0].name]
        return self._failure is not None or not any(thread.is_alive() for thread in first)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or sooner when a thread ended."""
        if self._changed.wait(seconds):
            self._changed.clear()

    def drain(self, *, timeout_s: float) -> None:
        """Close and join stage after stage, each abandoned early enough for its last words and those of all after it.

        Raises the ClearlineError that ended a thread, WorkerDied for another cause, ShutdownTimeout naming who is late.
        """
        due_at = self._clock.monotonic() + timeout_s
        reserved_s = sum(stage.grace_s for stage in self._stages)
        scale = min(1.0, RESERVED_RATIO * timeout_s / reserved_s)
        late: list[str] = []
        for stage in self._stages:
            stage.close()
            if self._join(stage, until=due_at - scale * reserved_s):
                stage.abandon()
                late += self._join(stage, until=self._clock.monotonic() + stage.grace_s)
            reserved_s -= stage.grace_s
        if self._failure is not None:
            name, cause = self._failure
            if isinstance(cause, ClearlineError):
                raise cause  # it says what to do, and has the exit code for it
            raise WorkerDied(f"thread {name} died: {type(cause).__name__}: {cause}") from cause
        if late:
            names = ", ".join(late)
            raise ShutdownTimeout(f"expected all threads to end within {timeout_s:g} s, still running: {names}")

    def _join(self, stage: Stage, *, until: float) -> list[str]:
        """Names of the threads that still run at `until` (monotonic seconds)."""
        threads = self._threads.get(stage.name, [])
        for thread in threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

    def _guard(self, index: int, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - a dead thread must end the process with its cause
            self._fail(name, error)
        finally:
            self._ended(index)

    def _fail(self, name: str, error: BaseException) -> None:
        """Keep the first cause and close everything: nobody may wait for a thread that is gone."""
        log.error("thread died", thread=name, cause=repr(error))
        with self._lock:
            if self._failure is None:
                self._failure = (name, error)
        for stage in self._stages:
            stage.close()

    def _ended(self, index: int) -> None:
        """After the last thread of a stage nothing more comes to the next one."""
        with self._lock:
            self._n_running[index] -= 1
            last = self._n_running[index] == 0
        if last and index + 1 < len(self._stages):
            self._stages[index + 1].close()
        self._changed.set()
