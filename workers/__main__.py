"""The `clearline` command: finds the verb, imports only what that verb needs, turns errors into exit codes."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import structlog
import typer

from pipeline.errors import ClearlineError

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

VERBS = {
    "demo": "Fit a head on a simulated line, run it, compare with zero-shot CLIP.",
    "run": "Run a line from its configuration file.",
    "doctor": "Look at machine, encoder, head, cameras and broker: one line each, and what to do.",
    "validate": "Check a configuration file, or print its JSON Schema.",
    "probe": "Open a camera or file, measure it, save a snapshot.",
    "simulate": "Render a production line as video or as labelled pictures.",
    "head": "Fit heads on labelled pictures, compare, list, promote, roll back and rebuild them.",
    "labels": "Bring labels in and out, answer open questions.",
    "drift": "Make references, see where the line stands, verify the audit log, approve or refuse.",
    "replay": "Score what was recorded again, with another head.",
    "texts": "Check and edit text dictionaries, have drafts suggested.",
    "worker": "Run one stage of a line as a process of its own: capture, infer or recalibrate, joined by Kafka.",
    "kafka": "Make the topics of a line, check the broker.",
    "dlq": "List, show and replay dead letters.",
    "bench": "Measure the line beside its encoder alone, on this machine.",
}


def build_app(wanted: str | None) -> typer.Typer:
    """The command line with one verb loaded; the others are there by name, so that help lists them.

    Torch takes seconds to import, which `validate` and `--help` need not wait for.
    """
    app = typer.Typer(
        name="clearline",
        help="Streaming few-shot vision for production-line cameras.",
        epilog="Exit codes: 0 fine, 1 other error, 2 configuration or usage, 3 input data, 4 head bundle, 5 encoder, "
        "6 sink or port, 7 a thread died, 8 not drained in time, 9 source, 130 interrupted.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for verb, about in VERBS.items():
        if verb != wanted:
            app.command(verb, help=about)(_not_loaded)
            continue
        module = importlib.import_module(f"workers.commands.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(getattr(module, verb))
    return app


def _not_loaded() -> None:
    """Stands for a verb that was not asked for."""


def main() -> None:
    """Entry point: one line per error on stderr, the exit code of its class."""
    _log_to_stderr()
    try:
        build_app(next((word for word in sys.argv[1:] if not word.startswith("-")), None))()
    except ClearlineError as error:
        typer.echo(f"clearline: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _log_to_stderr() -> None:
    renderer: Any = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    main()
