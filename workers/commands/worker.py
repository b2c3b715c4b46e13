"""`clearline worker capture|infer|recalibrate`: the stages of a line as processes of their own, joined by topics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from workers.commands.run import run_and_report

app = typer.Typer(help="Run one stage of a line, joined to the others by Kafka.", no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="The line's configuration file, the same for every worker.")]
Seconds = Annotated[float | None, typer.Option(help="Stop after this long.", min=0.1)]
Json = Annotated[bool, typer.Option("--json", help="Last line on stdout: one JSON object.")]


@app.command()
def capture(*, config: Config, seconds: Seconds = None, as_json: Json = False) -> None:
    """Cameras to the topic of frames."""
    from workers.config.line import load_config
    from workers.relay.app import RelayPipeline

    console = Console(stderr=as_json)
    pipeline = RelayPipeline(load_config(config))
    run_and_report(pipeline, console=console, seconds=seconds, as_json=as_json, title=str(config))


@app.command()
def infer(*, config: Config, seconds: Seconds = None, as_json: Json = False) -> None:
    """The topic of frames to results; as many of these as there are partitions share the work."""
    from workers.app import Pipeline
    from workers.config.line import load_config
    from workers.opening.kafka import as_inference

    console = Console(stderr=as_json)
    loaded = load_config(config)
    pipeline = Pipeline(
        as_inference(loaded),
        carried=loaded.cameras,
        say=lambda line: console.print(line, style="dim"),
    )
    run_and_report(pipeline, console=console, seconds=seconds, as_json=as_json, title=str(config))


@app.command()
def recalibrate(*, config: Config, seconds: Seconds = None, as_json: Json = False) -> None:
    """Watch for drift, ask for labels, prove another head: one of these for a line, beside its inference workers.

    The folders `head.registry` and `adaptation.folder` have to be the same for all of them.
    """
    from workers.config.line import load_config
    from workers.recalibration.app import RecalibrationPipeline

    console = Console(stderr=as_json)
    pipeline = RecalibrationPipeline(load_config(config))
    run_and_report(pipeline, console=console, seconds=seconds, as_json=as_json, title=str(config))
