"""`clearline bench`: the product's own measurements side by side, on this machine."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer

NAMES = ("throughput", "host", "files", "latency", "memory")
_MODELS = "ViT-B-32,demo_clip"
_N_SHOWN = 3  # figures per line of the table


def bench(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes; the figures mean little.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help=f"One of {', '.join(NAMES)}; may be repeated.")
    ] = None,
    models: Annotated[str, typer.Option("--models", help="Encoders, separated by commas; random weights.")] = _MODELS,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of the encoder.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    backend: Annotated[str, typer.Option("--backend", help="torch or openvino.")] = "torch",
) -> None:
    """Measure line and encoder in turn: throughput, host CPU, latency at half load, memory; minutes without --quick."""
    unknown = sorted(set(only or ()) - set(NAMES))
    if unknown:
        raise typer.BadParameter(f"--only must be one of {', '.join(NAMES)}, got {', '.join(unknown)}")
    from workers.bench.machine import describe
    from workers.bench.suite import MEASUREMENTS, Settings

    settings = Settings(
        models=tuple(models.split(",")), threads=threads, device=device, backend=backend, quick=quick, say=_say
    )
    results: dict[str, Any] = {}
    for name in only or NAMES:
        _say(f"== {name}: {MEASUREMENTS[name].__doc__}")
        results[name] = MEASUREMENTS[name](settings)
        if not as_json:
            _show(name, results[name])
    if as_json:
        about = {"machine": describe(), "threads": threads, "device": device, "backend": backend, "quick": quick}
        print(orjson.dumps({**about, "results": results}).decode())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(name: str, result: dict[str, Any]) -> None:
    """One line per model or input: whether the target was reached, and the first figures."""
    rows = result.get("models") or result.get("inputs") or {"": result}
    for row, figures in rows.items():
        numbers = {key: value for key, value in figures.items() if isinstance(value, float)}
        shown = ", ".join(f"{key} {value:.3g}" for key, value in list(numbers.items())[:_N_SHOWN])
        print(f"{name} {row}: {'reached' if figures['reached'] else 'missed'}; {shown}")
