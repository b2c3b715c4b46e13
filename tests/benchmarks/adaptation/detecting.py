"""(a) What is found, how soon, and as what: one line per drift, each commissioned anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.adaptation.lifecycle.states import State
from pipeline.simulation.disturbances import Disturbance
from tests.benchmarks.adaptation.rows import Row
from workers.commands.drift_demo_line import REFERENCE_PARTS, DemoLine, render

MIX = {"scratched_plate": 0.5, "dented_plate": 0.5}
DRIFTS: dict[str, tuple[Disturbance, ...]] = {
    "lighting 0.5": (Disturbance("lighting", strength=0.5, ramp_s=0.0),),
    "lighting 0.25": (Disturbance("lighting", strength=0.25, ramp_s=0.0),),
    "blur 0.5": (Disturbance("blur", strength=0.5, ramp_s=0.0),),
    "blur 0.25": (Disturbance("blur", strength=0.25, ramp_s=0.0),),
    "lens dirt 0.5": (Disturbance("dirt", strength=0.5, ramp_s=0.0),),
    "new class 5 %": (Disturbance("novel", strength=0.05, ramp_s=0.0),),
    "class mix 0.3": (Disturbance("class_mix", strength=0.3, ramp_s=0.0, mix=MIX),),
    "frozen picture": (),
    "nothing": (),
}
WITHIN = {  # parts, and the cause that is right
    "lighting 0.5": (600, "lighting_position"),
    "lighting 0.25": (2_000, "lighting_position"),
    "blur 0.5": (600, "blur"),
    "blur 0.25": (800, "blur"),
    "lens dirt 0.5": (2_000, "sensor_fault"),
    "new class 5 %": (5_000, "new_class"),
    "class mix 0.3": (12_800, "class_mix"),
    "frozen picture": (2_000, "sensor_fault"),
}
QUIET = "nothing"
QUIET_PARTS = 12_800
HEALTHY, DRIFTING = 8_000, 4_000  # pictures
WATCHED = 1_000
NAMING = 2_500  # parts after the limit of an alarm in which its cause may still come
LIMIT_S = 900.0


def wait(line: DemoLine, done: Callable[[], bool], *, limit_s: float = LIMIT_S) -> bool:
    """False where the line ended or the time was up first."""
    give_up_at = time.monotonic() + limit_s
    while not done():
        line.line.wait(0.02)
        if line.line.finished or time.monotonic() > give_up_at:
            return False
    return True


def rows(names: list[str], *, say: Callable[[str], None]) -> Iterator[Row]:
    """One row per drift; nobody answers questions."""
    healthy = render(HEALTHY, seed=0)  # as many pictures as parts: a reference of few pictures fits no others
    for name in names:
        shown = render(DRIFTING, seed=100_000, disturbances=DRIFTS[name])
        with TemporaryDirectory() as folder:
            line = DemoLine(Path(folder), first=healthy, labels=64, pool=True, say=say)
            yield _row(name, line, shown)


def _row(name: str, line: DemoLine, shown: Any) -> Row:
    most, right = WITHIN.get(name, (QUIET_PARTS, ""))
    line.source.in_order = True
    line.line.start()
    try:
        wait(line, lambda: line.n_parts >= REFERENCE_PARTS)
        line.make_reference()
        wait(line, lambda: line.state is not State.COMMISSIONING)
        watched = line.n_parts
        wait(line, lambda: line.n_parts >= watched + WATCHED)
        line.source.shown, line.source.frozen = shown, name == "frozen picture"
        began = line.n_parts
        wait(line, lambda: line.n_parts >= began + most + NAMING or any(kind == "drift" for _, kind, _ in line.heard))
    finally:
        line.source.ended = True
        line.stop()
    return _told(name, line, began=began, most=most, right=right)


def _told(name: str, line: DemoLine, *, began: int, most: int, right: str) -> Row:
    alarms = [n for n, kind, told in line.heard if kind == "heads" and told["after"] in ("diagnose", "blocked")]
    causes = [told["cause"] for _, kind, told in line.heard if kind == "drift"]
    n_parts = line.n_parts - began
    if name == QUIET:
        return Row("a", name, "no alarm", f"{len(alarms)} alarms in {n_parts:,} parts", not alarms)
    after = alarms[0] - began if alarms else None
    cause = causes[0] if causes else "no cause named"
    found = "not detected" if after is None else f"alarm after {after:,}"
    accuracy = float(np.mean(line.tallying.right[began:]))
    measured = f"{found}; {cause}; accuracy {accuracy:.1%}"
    in_time = after is not None and 0 <= after <= most
    return Row("a", name, f"within {most:,}, {right}", measured, in_time and cause == right)
