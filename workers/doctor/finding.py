"""What a check found, and how checks are run: in threads of their own, each with a time limit."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ClearlineError
from pipeline.interfaces import Clock
from workers.sources.url import redact


class State(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # the line runs, but not as well as it could
    BAD = "bad"  # the line will not run, or not for long


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    found: str
    advice: str = ""  # what to do; empty where all is well
    took_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "state": self.state.value,
            "found": self.found,
            "advice": self.advice,
            "took_s": round(self.took_s, 3),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A look at one thing."""

    name: str
    look: Callable[[], Finding]
    limit_s: float


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, State.OK, found)


def warn(name: str, found: str, *, advice: str) -> Finding:
    """It runs, but."""
    return Finding(name, State.WARN, found, advice)


def bad(name: str, found: str, *, advice: str) -> Finding:
    """It will not run."""
    return Finding(name, State.BAD, found, advice)


def run_together(checks: Sequence[Check], *, clock: Clock) -> Iterator[Finding]:
    """All at once, findings in the order of `checks`. One that raises or hangs is bad, and harms no other.

    A thread that hangs is left behind; it is a daemon, so it does not hold up the end of the process.
    """
    started_at = clock.monotonic()
    found: list[Finding | None] = [None] * len(checks)

    def run(index: int) -> None:
        began_at = clock.monotonic()
        found[index] = replace(_looked(checks[index]), took_s=clock.monotonic() - began_at)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(checks))]
    for thread in threads:
        thread.start()
    for index, (check, thread) in enumerate(zip(checks, threads, strict=True)):
        thread.join(max(0.0, started_at + check.limit_s - clock.monotonic()))
        yield found[index] or _hung(check)


def _looked(check: Check) -> Finding:
    try:
        return check.look()
    except ClearlineError as error:
        return bad(check.name, redact(str(error)) if "://" in str(error) else str(error), advice="")
    except Exception as error:  # noqa: BLE001 - whatever one check provokes must not hide what the others find
        text = str(error)
        shown = redact(text) if "://" in text else text
        return bad(check.name, f"{type(error).__name__}: {shown}", advice="report this as a defect of Clearline")


def _hung(check: Check) -> Finding:
    return Finding(
        check.name,
        State.BAD,
        f"no answer within {check.limit_s:g} s",
        "something hangs: a network drive, a driver or a device; look at it alone",
        check.limit_s,
    )
