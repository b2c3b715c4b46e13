"""`clearline run CONFIG`: a line in one process, until a signal, a time limit or the end of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from workers.app import Pipeline
from workers.commands.watching import Running, print_summary, summary_as_json, watch


def run(
    config: Annotated[Path, typer.Argument(help="The line's configuration file.")],
    *,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.", min=0.1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Last line on stdout: one JSON object.")] = False,
) -> None:
    """Run a line: Ctrl-C or SIGTERM drains it and prints where every frame went."""
    console = Console(stderr=as_json)
    pipeline = Pipeline.from_config(config, say=lambda line: console.print(line, style="dim"))
    run_and_report(pipeline, console=console, seconds=seconds, as_json=as_json, title=str(config))


def run_and_report(pipeline: Running, *, console: Console, seconds: float | None, as_json: bool, title: str) -> None:
    """Watch it to its end, then say what happened, also when it ended badly."""
    try:
        watch(pipeline, console=console, seconds=seconds, title=title)
    finally:
        summary = summary_as_json(pipeline)
        print_summary(summary, console=console)
        if as_json:
            print(orjson.dumps(summary).decode(), flush=True)
