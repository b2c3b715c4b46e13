"""`clearline head eval`: every head on the same draws of a features file, as one table and one JSON line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from pipeline.errors import ClearlineError, DataError

if TYPE_CHECKING:
    from pipeline.evaluation.features_file import FeaturesFile
    from pipeline.evaluation.protocol import Row


def head_eval(
    images: Annotated[
        Path | None, typer.Argument(help="A folder with one folder of images per class; needs --config.")
    ] = None,
    *,
    features: Annotated[
        Path | None, typer.Option("--features", help="FILE.npz: trainK_x, trainK_y, test_x, test_y, classnames.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The line's configuration: its encoder and its texts.")] = None,
    shots: Annotated[str, typer.Option("--shots", help="Images per class, comma-separated.")] = "1,4,16",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Draws of the support set (folds where it is fixed).")
    ] = 3,
    heads: Annotated[
        str, typer.Option("--heads", help="Heads, comma-separated.")
    ] = "auto,probe,gda,kernel_ridge,tip,linear",
    unlabelled: Annotated[
        str | None, typer.Option("--unlabelled", help="val, or FILE.npz:ARRAY; features only, labels are never read.")
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search K and text weights of CODER heads out of fold.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on the last line.")] = False,
) -> None:
    """Fit heads on K images per class and judge them on images kept aside; exit code 3 for data that cannot be used."""
    from pipeline.evaluation.features_file import load_pool
    from pipeline.evaluation.protocol import evaluate

    try:
        file = _opened(images, features=features, config=config)
        pool = None if unlabelled is None else load_pool(unlabelled, file=file)
        names = tuple(name.strip() for name in heads.split(",") if name.strip())
        rows: list[Row] = []
        for k in _numbers(shots):
            rows += evaluate(file, heads=names, shots=k, seeds=seeds, pool=pool, tune=tune, timer=time.perf_counter)
    except ClearlineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    _show(rows, seeds=seeds)
    if as_json:
        typer.echo(orjson.dumps({"rows": [row.to_json() for row in rows]}).decode())


def _opened(images: Path | None, *, features: Path | None, config: Path | None) -> FeaturesFile:
    """A features file, or a folder of images through the configured encoder, split in halves."""
    from pipeline.evaluation.features_file import load_features_file
    from pipeline.evaluation.image_folder import halves
    from workers.commands.head_support import open_support, progress_shown
    from workers.config.line import load_config

    if features is not None and images is None:
        return load_features_file(features)
    if images is None or features is not None or config is None:
        raise DataError("head eval: expected either --features FILE.npz or a folder of images with --config")
    with progress_shown() as progress:
        opened = open_support(images, config=load_config(config), progress=progress)
    for bad in opened.support.bad:
        typer.echo(f"left out, unreadable: {bad.path} (class {bad.class_id}): {bad.reason}", err=True)
    texts = opened.texts
    return halves(opened.support.features, folder=images, text=texts.names, coder=texts.coder)


def _show(rows: Sequence[Row], *, seeds: int) -> None:
    from pipeline.evaluation.table import as_table

    typer.echo(as_table(rows))
    fixed = sorted({row.shots for row in rows if not row.draws[0]["drawn"]})
    if fixed and seeds > 1:
        at = ", ".join(map(str, fixed))
        typer.echo(f"support rows are fixed by the file at {at} shots: seeds vary the folds only, and SD is theirs")
    for row in rows:
        for seed, about in zip(row.seeds, row.about, strict=True):
            if about is not None and "why" in about:
                typer.echo(f"{row.head}, {row.shots} shots, seed {seed}: {about['why']}{_pool_line(about)}")


def _pool_line(about: dict[str, object]) -> str:
    pool = about.get("pool")
    if not isinstance(pool, dict):
        return ""
    what = "used" if pool["used"] else "ignored: it does not cover the classes"
    tried = about["trials"]
    verdict = [t for t in tried if t["name"] == "pool"] if isinstance(tried, list | tuple) else []
    gain = f", {verdict[0]['verdict']} (gain {verdict[0]['gain']:+.3f})" if verdict else ""
    counted = f"{pool['n_used']} of {pool['n_offered']} rows, {pool['n_novel']} novel"
    return f"; unlabelled {what} ({counted}, coverage {pool['coverage']:.2f}){gain}"


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise DataError(f"--shots: expected numbers like 1,4,16, got {text}") from error
    if not found or min(found) < 1:
        raise DataError(f"--shots: expected numbers of at least 1, got {text}")
    return found
