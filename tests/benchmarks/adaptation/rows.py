"""One line of the table that `python -m tests.benchmarks.adaptation` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`holds` is None where something is told and nothing required."""

    part: str
    what: str
    accept: str
    measured: str
    holds: bool | None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: "-"}[self.holds]
        return f"| {self.part} | {self.what} | {self.accept} | {self.measured} | {verdict} |"
