"""`clearline drift demo`: blur sets in on a simulated line, and the line finds, asks, learns, proves and recovers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from pipeline.adaptation.lifecycle.states import State
from pipeline.errors import DataError
from pipeline.simulation.disturbances import Disturbance
from workers.commands.drift_demo_line import REFERENCE_PARTS, DemoLine, Pictures, render
from workers.commands.drift_demo_picture import Mark, Run, draw
from workers.line import Say

HEALTHY_PARTS = 1_500  # watched before the blur
AFTER_PARTS = 2_500
POLL_S = 0.05
_OUTCOMES = {State.MONITORING: "confirmed", State.HOLD: "on hold"}
POOL = 500  # pictures of a phase


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the table and the JSON object say."""

    accuracy_before: float
    accuracy_during: float  # blurred, with the first head
    accuracy_after: float  # blurred, with the head that is live at the end, on pictures that taught nothing
    detected_after_parts: int | None
    cause: str | None
    promoted_version: int | None
    labels: int  # all answers, parts of known class included
    labels_to_teach: int
    parts: int
    seconds: float
    timeline: tuple[tuple[int, str, str], ...]  # parts, state, reason
    left_out: int  # parts that the loop was too slow for


def demo(
    *,
    seconds: Annotated[float, typer.Option(help="Give up after so long.", min=10)] = 400.0,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("runs/drift-demo.png"),
    labels: Annotated[int, typer.Option(help="Parts to label before a challenger is fitted.", min=8)] = 64,
    no_pool: Annotated[bool, typer.Option("--no-pool", help="Learn from the labels alone.")] = False,
    blur: Annotated[float, typer.Option(help="How blurred, 0 to 1.", min=0.0, max=1.0)] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Last line on stdout: one JSON object.")] = False,
) -> None:
    """Blur on a simulated line: alarm, labels, a challenger, the gate, a promotion, probation; and a picture of it."""
    console = Console(stderr=as_json)

    def told(line: str) -> None:
        console.print(line, style="dim", highlight=False)

    with TemporaryDirectory(prefix="clearline-drift-demo-") as folder:
        outcome, run = play(Path(folder), seconds=seconds, labels=labels, pool=not no_pool, blur=blur, say=told)
    console.print(_table(outcome))
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(run).save(out)
    told(f"picture: {out}")
    if as_json:
        print(orjson.dumps(asdict(outcome)).decode())


def play(folder: Path, *, seconds: float, labels: int, pool: bool, blur: float, say: Say) -> tuple[Outcome, Run]:
    """The whole story. Blocks. Raises DataError where it takes longer than `seconds`."""
    say("rendering pictures: healthy ones, blurred ones to learn from, and other blurred ones to be judged by")
    script = [Disturbance("blur", strength=blur, ramp_s=0.0)]
    healthy = render(POOL, seed=0)
    to_learn = render(POOL, seed=100_000, disturbances=script)
    to_judge = render(POOL, seed=200_000, disturbances=script)
    line = DemoLine(folder, first=healthy, labels=labels, pool=pool, say=say)
    story = _Story(line, seconds=seconds, say=say)
    line.line.start()
    try:
        story.healthy()
        story.blurred(to_learn, to_judge)
    finally:
        line.source.ended = True
        line.stop()
    outcome = story.outcome(labels=labels)
    return outcome, story.run((outcome.accuracy_before, outcome.accuracy_during, outcome.accuracy_after))


class _Story:
    """The phases, one after the other, each until what it waits for has come."""

    def __init__(self, line: DemoLine, *, seconds: float, say: Say) -> None:
        self._line, self._say = line, say
        self._began_at = time.monotonic()
        self._give_up_at = self._began_at + seconds
        self._ratios: list[tuple[int, tuple[float, ...]]] = []
        self._marks: list[Mark] = []
        self._blur_at = self._judged_at = 0

    def healthy(self) -> None:
        """Record, make a reference, watch."""
        line = self._line
        self._mark("healthy, recorded")
        self._wait("a recording", lambda: line.n_parts >= REFERENCE_PARTS)
        self._say(f"a reference from {line.n_parts} healthy parts")
        line.make_reference()
        self._wait("the reference", lambda: line.state is not State.COMMISSIONING)
        self._mark("healthy, watched")
        until = line.n_parts + HEALTHY_PARTS
        self._wait("healthy parts", lambda: line.n_parts >= until)
        if line.state is not State.MONITORING:
            self._say(f"the healthy line was not quiet: {line.state}")
        line.oracle.start()
        self._say("three labellers answer from the simulator's truth: people would take hours, not seconds")

    def blurred(self, to_learn: Pictures, to_judge: Pictures) -> None:
        """Until the new head is confirmed, or no head was."""
        line = self._line
        self._blur_at = line.n_parts
        self._mark("blur")
        line.source.shown = to_learn
        ends = (State.GATING, State.COOLDOWN, State.HOLD)
        self._wait("a challenger", lambda: line.state in ends)
        line.source.shown = to_judge  # from here on, no picture that the challenger has learned from
        self._mark("the gate")
        self._wait("the gate", lambda: line.state in (State.PROBATION, State.COOLDOWN, State.HOLD))
        if line.state is State.PROBATION:
            self._mark("new head")
            self._wait("probation", lambda: line.state is not State.PROBATION)
            self._mark(_OUTCOMES.get(line.state, "rolled back"))
        self._judged_at = line.n_parts
        self._wait("parts at the end", lambda: line.n_parts >= self._judged_at + AFTER_PARTS)
        if line.state is State.MONITORING and not line.loop.ratios:
            self._wait("charts of the new head", lambda: bool(line.loop.ratios))
            self._mark("charts go on")
            until = line.n_parts + HEALTHY_PARTS
            self._wait("charted parts", lambda: line.n_parts >= until)

    def outcome(self, *, labels: int) -> Outcome:
        """What came of it."""
        line, right = self._line, np.array(self._line.tallying.right)
        states = [(n, told["after"], told["reason"]) for n, kind, told in line.heard if kind == "heads"]
        alarms = [n for n, state, _ in states if state == State.DIAGNOSE.value and n >= self._blur_at]
        causes = [told["cause"] for _, kind, told in line.heard if kind == "drift"]
        swapped = [n for n, state, _ in states if state == State.PROBATION.value]
        first = np.array(line.tallying.versions[self._blur_at :]) == 1
        return Outcome(
            accuracy_before=float(right[: self._blur_at].mean()),
            accuracy_during=float(right[self._blur_at :][first].mean()),
            accuracy_after=float(right[self._judged_at :].mean()),
            detected_after_parts=alarms[0] - self._blur_at if alarms else None,
            cause=causes[0] if causes else None,
            promoted_version=line.tallying.versions[-1] if swapped and line.tallying.versions[-1] != 1 else None,
            labels=line.oracle.n_labels,
            labels_to_teach=labels,
            parts=len(right),
            seconds=round(time.monotonic() - self._began_at, 1),
            timeline=tuple(states),
            left_out=line.loop.n_left_out,
        )

    def run(self, accuracies: tuple[float, float, float]) -> Run:
        """For the picture."""
        return Run(
            right=tuple(self._line.tallying.right),
            ratios=tuple(self._ratios),
            marks=tuple(self._marks),
            alarm_at=self._alarm_at,
            accuracies=accuracies,
        )

    @property
    def _alarm_at(self) -> int | None:
        found = [n for n, kind, told in self._line.heard if kind == "heads" and told["after"] == State.DIAGNOSE.value]
        return found[0] if found else None

    def _mark(self, name: str) -> None:
        self._marks.append(Mark(self._line.n_parts, name))
        self._say(f"{self._line.n_parts:6} parts: {name}")

    def _wait(self, what: str, is_done: Callable[[], bool]) -> None:
        line = self._line
        while not is_done():
            line.line.wait(POLL_S)
            ratios = line.loop.ratios
            if ratios and (not self._ratios or line.n_parts > self._ratios[-1][0]):
                self._ratios.append((line.n_parts, ratios))
            if line.line.finished or time.monotonic() > self._give_up_at:
                raise DataError(
                    f"drift demo: expected {what} in time, got none after {line.n_parts} parts in state {line.state} "
                    f"({line.loop.state.reason}); give it more --seconds"
                )


def _table(outcome: Outcome) -> Table:
    table = Table(title="Blur on a simulated line", show_header=False)
    detected = outcome.detected_after_parts
    rows: dict[str, Any] = {
        "accuracy before the blur": f"{outcome.accuracy_before:.1%}",
        "accuracy under blur, first head": f"{outcome.accuracy_during:.1%}",
        "accuracy under blur, at the end": f"{outcome.accuracy_after:.1%}",
        "alarm after": "not detected" if detected is None else f"{detected} parts",
        "likely cause": outcome.cause or "none",
        "new head": "none" if outcome.promoted_version is None else f"version {outcome.promoted_version}",
        "labels": f"{outcome.labels} answers, {outcome.labels_to_teach} of them to teach",
        "parts": f"{outcome.parts} in {outcome.seconds:.0f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for n, state, reason in outcome.timeline:
        table.add_row(f"{n} parts", f"{state}: {reason}"[:100])
    return table
