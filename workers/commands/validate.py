"""`clearline validate FILE`: everything wrong with a configuration file, before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from workers.config.line import ConfigFileError, LineConfig, Problem, json_schema, load_config


def validate(
    file: Annotated[Path | None, typer.Argument(help="The configuration file.", show_default=False)] = None,
    *,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Read what the file names too: head, texts, recordings, paths. Takes seconds."),
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a configuration file and print every problem; exit code 0 when there is none, else 2.

    With --deep also what would fail only after the start, as far as files tell: no camera, port or broker is opened.
    """
    if schema:
        print(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
        return
    if file is None:
        print("expected a file: clearline validate FILE (or --schema)", file=sys.stderr)
        raise typer.Exit(ConfigFileError.exit_code)
    try:
        config = load_config(file)
        if deep:
            _read_all(config, file=file)
    except ConfigFileError as error:
        _print_problems(error, file=file, as_json=as_json)
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print(orjson.dumps({"file": str(file), "valid": True, "problems": [], **_summary(config)}).decode())
    else:
        parts = ", ".join(f"{what}: {count}" for what, count in _summary(config).items())
        print(f"{file}: valid ({parts})")


def _read_all(config: LineConfig, *, file: Path) -> None:
    """Raise ConfigFileError with every problem of what the configuration names."""
    from workers.commands.validate_deep import deep_problems

    found = deep_problems(config)
    if found:
        raise ConfigFileError(tuple(Problem(file=str(file), key=key, text=text) for key, text in found))


def _summary(config: LineConfig) -> dict[str, int]:
    n_rois = sum(len(camera.rois) for camera in config.cameras)
    return {"cameras": len(config.cameras), "rois": n_rois, "sinks": len(config.sinks)}


def _print_problems(error: ConfigFileError, *, file: Path, as_json: bool) -> None:
    if as_json:
        problems = [{"key": p.key, "line": p.line, "message": str(p)} for p in error.problems]
        print(orjson.dumps({"file": str(file), "valid": False, "problems": problems}).decode())
        return
    for problem in error.problems:
        print(problem, file=sys.stderr)
