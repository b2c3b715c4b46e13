"""`clearline doctor`: is this machine, and all that a configuration names, fit to run the line?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from pipeline.errors import ClearlineError
from workers.clock import SystemClock
from workers.commands.doctor_line import LineChecks
from workers.commands.doctor_sinks import extras_of
from workers.config.line import LineConfig, load_config
from workers.doctor import machine, software, surroundings
from workers.doctor.finding import Check, Finding, State, bad, ok, run_together

QUICK_S = 20.0  # importing torch and waking a card take seconds on a cold disk
NAME_WIDTH = 24


def doctor(
    *,
    config: Annotated[
        Path | None, typer.Option(help="The line's configuration file; without it only the machine is looked at.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at everything a line needs, one line for each: ok, warn or bad, and what to do. Exit code 1 when one is bad.

    It reads and writes nothing of the line but temporary files; a camera that allows one connection must be free.
    """
    console = Console(stderr=True)
    findings: list[Finding] = []
    with console.status("looking") as status:
        if as_json or not console.is_terminal:
            status.stop()
        for finding in examine(config):
            findings.append(finding)
            if not as_json:
                print(as_line(finding), flush=True)
    counts = Counter(one.state for one in findings)
    totals = {state.value: counts[state] for state in State}
    if as_json:
        print(orjson.dumps({"checks": [one.to_json() for one in findings], **totals}).decode())
    else:
        print(", ".join(f"{n} {state}" for state, n in totals.items()), file=sys.stderr)
    if counts[State.BAD]:
        raise typer.Exit(1)


def examine(file: Path | None) -> Iterator[Finding]:
    """All findings, as they are made."""
    clock = SystemClock()
    line: LineConfig | None = None
    if file is not None:
        try:
            line = load_config(file)
            yield ok("configuration", f"{file}: valid; `clearline validate --deep` reads all that it names")
        except ClearlineError as error:
            for said in str(error).splitlines():
                yield bad("configuration", said, advice="correct the file; the rest of the line is not looked at")
    yield from run_together(_of_machine(line), clock=clock)
    if line is not None:
        for group in LineChecks(line, clock=clock).groups():
            yield from run_together(group, clock=clock)


def as_line(finding: Finding) -> str:
    """For people."""
    advice = f"; {finding.advice}" if finding.advice else ""
    return f"{finding.state:4}  {finding.name:{NAME_WIDTH}} {finding.found}{advice}"


def _of_machine(line: LineConfig | None) -> list[Check]:
    extras: list[str] = [line.encoder.backend] if line is not None and line.encoder.backend != "torch" else []
    extras += [] if line is None else extras_of(line)
    device = "auto" if line is None else line.encoder.device
    threads = 1 if line is None else line.encoder.threads
    n_cameras = 1 if line is None else len(line.cameras)
    speaks_kafka = line is not None and line.kafka is not None
    checks = [
        Check("python", software.python, QUICK_S),
        Check("packages", lambda: software.packages(extras=extras), QUICK_S),
        Check("torch pair", software.torch_pair, 3 * QUICK_S),
        Check("kafka client", lambda: software.kafka_client(needed=speaks_kafka), QUICK_S),
        Check("cpu", lambda: machine.cpu(threads=threads), QUICK_S),
        Check("memory", machine.memory, QUICK_S),
        Check("gpu", lambda: machine.gpu(device=device), 3 * QUICK_S),
        Check("clock", surroundings.clock, QUICK_S),
        Check("open files", lambda: surroundings.open_files(n_cameras=n_cameras), QUICK_S),
    ]
    if line is not None:
        server = line.server
        checks.append(Check("port", lambda: surroundings.port(host=server.host, port=server.port), QUICK_S))
    return checks
