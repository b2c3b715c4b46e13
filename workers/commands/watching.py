"""Runs a pipeline under a live table until a signal, a time limit or the end of its sources."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table

from pipeline.types import Prediction
from workers.captures import counts_as_json
from workers.ledger import Counts
from workers.server import StatusServer
from workers.tally import TallySummary

REFRESH_S = 0.25


class Watched(Protocol):
    """What a Line and a RelayLine show of themselves."""

    @property
    def running_s(self) -> float: ...
    @property
    def finished(self) -> bool: ...
    def wait(self, seconds: float) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def summary(self) -> tuple[Counts, TallySummary]: ...
    def last_result(self, source_id: str) -> Prediction | None: ...


class Running(Protocol):
    """A process's composition, as whoever runs it sees it."""

    server: StatusServer

    @property
    def line(self) -> Watched: ...
    def facts(self) -> dict[str, Any]: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Turns SIGINT and SIGTERM into one attribute; anything more in a handler could deadlock."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.received = number


def watch(pipeline: Running, *, console: Console, seconds: float | None, title: str) -> None:
    """Run to the end and drain. A second signal while draining is left to Python: it interrupts at once."""
    line = pipeline.line
    with StopRequest() as stop, Live(console=console, auto_refresh=False, transient=True) as live:
        pipeline.start()
        console.print(f"status and metrics at {pipeline.server.url}", style="dim")
        while not (stop.received or line.finished or (seconds is not None and line.running_s >= seconds)):
            line.wait(REFRESH_S)
            if console.is_terminal:
                live.update(table_of(line, title=title), refresh=True)
    console.print("draining", style="dim")
    pipeline.stop()


def table_of(line: Watched, *, title: str) -> Table:
    """One row per camera, and the figures of the line beneath."""
    table = Table(title=title, caption=_caption(line), caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, justify in COLUMNS.items():
        table.add_column(name, justify=justify)
    for source_id, one in line.status()["sources"].items():
        table.add_row(source_id, *_cells(one, line.last_result(source_id)))
    return table


COLUMNS: dict[str, JustifyMethod] = {
    "camera": "left",
    "state": "left",
    "delivered": "right",
    "dropped": "right",
    "last label": "left",
    "sure": "right",
    "decision": "left",
    "right": "left",
}
COLOURS = {"accept": "green", "reject": "red", "review": "yellow", "unknown": "magenta"}


def _cells(source: Mapping[str, Any], last: Prediction | None) -> list[str]:
    counts = [source["state"], str(source["delivered"]), str(source["dropped"])]
    if last is None:
        return [*counts, "", "", "", ""]
    colour = COLOURS[last.decision.value]
    decision = f"[{colour}]{last.decision.value}[/]"
    truth = last.ref.truth
    right = "" if truth is None else "yes" if truth == last.label else f"no: {truth}"
    return [*counts, last.label, f"{last.confidence:.0%}", decision, right]


def _caption(line: Watched) -> str:
    counts, tally = line.summary()
    parts = [f"{tally.n_delivered / max(line.running_s, 1e-9):.1f} frames/s"]
    if tally.latency_p50_s is not None and tally.latency_p99_s is not None:
        parts.append(f"latency p50 {tally.latency_p50_s * 1e3:.0f} ms, p99 {tally.latency_p99_s * 1e3:.0f} ms")
    if tally.accuracy_head is not None and tally.accuracy_zero_shot is not None:
        parts.append(f"right: {tally.accuracy_zero_shot:.1%} before deconfusion, {tally.accuracy_head:.1%} after")
    parts.append(f"in flight {counts.in_flight}")
    return "   ".join(parts)


def summary_as_json(pipeline: Running) -> dict[str, Any]:
    """The last line of `run` and `demo` with --json."""
    counts, tally = pipeline.line.summary()
    return {
        **counts_as_json(counts),
        "balance_error": counts.error,
        "accuracy_zero_shot": tally.accuracy_zero_shot,
        "accuracy_head": tally.accuracy_head,
        "n_with_truth": tally.n_with_truth,
        "frames_per_second": tally.n_delivered / max(pipeline.line.running_s, 1e-9),
        "latency_p50_ms": None if tally.latency_p50_s is None else tally.latency_p50_s * 1e3,
        "latency_p99_ms": None if tally.latency_p99_s is None else tally.latency_p99_s * 1e3,
        "decisions": tally.decisions,
        "labels": tally.labels,
        **pipeline.facts(),
    }


def print_summary(summary: Mapping[str, Any], *, console: Console) -> None:
    """The same for a person; says so when the frames do not add up."""
    table = Table(title="summary", show_header=False)
    ended = " + ".join(f"{summary[key]} {key.replace('_', '-')}" for key in ENDS)
    verdict = "adds up" if summary["balance_error"] == 0 else f"[red]off by {summary['balance_error']}[/]"
    table.add_row("frames", f"{summary['captured']} captured = {ended} ({verdict})")
    for key in ("dropped_by_reason", "dead_lettered_by_reason"):
        if summary[key]:
            table.add_row(key.replace("_", " "), ", ".join(f"{reason} {n}" for reason, n in summary[key].items()))
    if summary["accuracy_head"] is not None:
        table.add_row(summary["prior"], f"{summary['accuracy_zero_shot']:.1%} right of {summary['n_with_truth']}")
        table.add_row(f"head {summary['head']}", f"{summary['accuracy_head']:.1%} right")
    if "encoder_frames_per_second" in summary:
        alone = f" (the encoder alone could do {summary['encoder_frames_per_second']:.0f})"
        table.add_row("frames/s", f"{summary['frames_per_second']:.1f}{alone}")
    if summary["latency_p50_ms"] is not None:
        table.add_row("latency", f"p50 {summary['latency_p50_ms']:.1f} ms, p99 {summary['latency_p99_ms']:.1f} ms")
    if summary["decisions"]:
        table.add_row("decisions", ", ".join(f"{name} {n}" for name, n in sorted(summary["decisions"].items())))
    console.print(table)


ENDS = ("delivered", "dropped", "dead_lettered", "in_flight")
