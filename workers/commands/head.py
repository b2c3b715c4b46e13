"""`clearline head`: fit a head on a folder of labelled images per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from pipeline.encoders.build import EncoderBundle
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle, Provenance
from pipeline.heads.bundles.recipe import Recipe, fit_recipe, rows_sha256
from pipeline.heads.fitted import FittedHead
from pipeline.heads.report import Accuracy, FitReport
from pipeline.heads.support import SupportSet
from workers.clock import SystemClock
from workers.commands.head_eval import head_eval
from workers.commands.head_explain import head_explain
from workers.commands.head_rebuild import head_rebuild
from workers.commands.head_report import head_report
from workers.commands.head_support import (
    OpenedSupport,
    Progress,
    evidence_of,
    material_of,
    open_pool,
    open_support,
    progress_shown,
    refuse_lone_images,
)
from workers.commands.head_versions import head_freeze, head_list, head_promote, head_rollback, head_thaw
from workers.config.line import LineConfig, load_config

app = typer.Typer(help="Fit heads and compare them.", no_args_is_help=True)
app.command("eval")(head_eval)
app.command("report")(head_report)
app.command("explain")(head_explain)
app.command("list")(head_list)
app.command("promote")(head_promote)
app.command("rollback")(head_rollback)
app.command("freeze")(head_freeze)
app.command("thaw")(head_thaw)
app.command("rebuild")(head_rebuild)
MAX_LISTED = 10  # unreadable files named one by one


@dataclass(frozen=True, slots=True)
class Fitted:
    """What `fit_folder` did."""

    folder: Path
    bundle: HeadBundle
    report: FitReport
    support: SupportSet


@app.command()
def fit(
    images: Annotated[Path, typer.Argument(help="A folder with one folder of images per class.")],
    *,
    config: Annotated[Path, typer.Option(help="The line's configuration file.")],
    out: Annotated[
        Path | None, typer.Option(help="Registry folder to write to; default: head.registry/head.name.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Images per class at most; default: all.")] = None,
    fusion: Annotated[str, typer.Option(help="beta (one weight, from folds), gate (one per image), fixed.")] = "beta",
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Search K and the weights of the texts out of fold (kinds coder, coder_adapter)."),
    ] = False,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="A folder of unlabelled pictures, or of the recording (kinds auto, pool)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, the folds and the training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a head on few labelled images, judge it by folds among them, write a new version and make it live."""
    loaded = load_config(config)
    with progress_shown() as progress:
        done = fit_folder(
            images,
            config=loaded,
            out=out,
            shots=shots,
            fusion=fusion,
            tune=tune,
            unlabelled=unlabelled,
            seed=seed,
            progress=progress,
        )
    if as_json:
        print(orjson.dumps(as_plain(done)).decode())
        return
    for line in as_text(done):
        print(line)


def fit_folder(
    images: Path,
    *,
    config: LineConfig,
    out: Path | None = None,
    shots: int | None = None,
    fusion: str = "beta",
    tune: bool = False,
    unlabelled: Path | None = None,
    seed: int = 0,
    encoder: EncoderBundle | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Fitted:
    """Everything `head fit` does but print; opens the configured encoder unless one is handed in."""
    opened = open_support(images, config=config, shots=shots, seed=seed, encoder=encoder, progress=progress)
    refuse_lone_images(opened.support, folder=images)
    pool = None
    if unlabelled is not None:
        pool = open_pool(unlabelled, config=config, encoder=opened.encoder, progress=progress)
    recipe = Recipe(
        kind=config.head.kind,
        fusion=fusion,
        tune=tune,
        seed=seed,
        shots=shots,
        embedding_alone=config.adaptation is not None,  # what is recorded of a line: its heads use nothing else
        pool_sha256=rows_sha256(pool),
    )
    fitted = fit_recipe(
        opened.support.features,
        material=material_of(opened, pool=pool),
        recipe=recipe,
        on_progress=lambda share: progress("fitting", share),
    )
    folder = out or config.head.registry / config.head.name
    bundle = _save(fitted, folder=folder, opened=opened, recipe=recipe)
    return Fitted(folder=folder, bundle=bundle, report=fitted.report, support=opened.support)


def _save(fitted: FittedHead, *, folder: Path, opened: OpenedSupport, recipe: Recipe) -> HeadBundle:
    dictionary = opened.texts.dictionary
    provenance = Provenance(
        texts_sha256=None if dictionary is None else dictionary.sha256,
        support_sha256=opened.support.sha256,
        code_version=version("clearline"),
        created_at=datetime.fromtimestamp(SystemClock().utc(), UTC).isoformat(timespec="seconds"),
        recipe=recipe.to_json(),
    )
    return registry.save(
        fitted,
        folder=folder,
        encoder=opened.encoder.image.info,
        provenance=provenance,
        evidence=evidence_of(opened, fitted=fitted),
    )


def as_plain(done: Fitted) -> dict[str, Any]:
    """For --json."""
    return {
        "bundle": str(registry.bundle_path(done.folder, version=done.bundle.version)),
        "version": done.bundle.version,
        "sha256": done.bundle.sha256,
        "kind": done.bundle.head.name,
        "classes": list(done.bundle.head.classes),
        "n_encoded": done.support.n_encoded,
        "unreadable": [{"file": str(b.path), "class": b.class_id, "reason": b.reason} for b in done.support.bad],
        **done.report.to_json(),
    }


def as_text(done: Fitted) -> Iterator[str]:
    """For people."""
    report = done.report
    yield f"{report.n_images} images of {report.n_classes} classes, {_shots(report)}, validation: {report.folds}"
    for bad in done.support.bad[:MAX_LISTED]:
        yield f"left out, unreadable: {bad.path} (class {bad.class_id}): {bad.reason}"
    if len(done.support.bad) > MAX_LISTED:
        yield f"left out, unreadable: {len(done.support.bad) - MAX_LISTED} more"
    if report.accuracy_head.n:
        prior = "zero-shot" if report.prior == "zero_shot" else "image prototypes"
        yield f"out of fold, {prior}: {_percent(report.accuracy_zero_shot)}"
        yield f"out of fold, {done.bundle.head.name}: {_percent(report.accuracy_head)}"
        for pair in report.confused_after:
            yield f"  still confused: {pair.truth} called {pair.predicted}, {pair.count} of {pair.n_truth}"
    if done.bundle.head.name.startswith("coder") and report.choice:
        yield f"searched out of fold: {_settings(report.choice)}"
    yield from (f"note: {note}" for note in report.notes)
    path = registry.bundle_path(done.folder, version=done.bundle.version)
    yield f"{path}: version {done.bundle.version}, live (SHA-256 {done.bundle.sha256[:12]})"


def _settings(choice: Mapping[str, Any]) -> str:
    """Numbers only; the curves are in --json and in the report. K None: every text has its say."""
    found = {name: value for name, value in choice.items() if isinstance(value, int | float) or name == "k"}
    return ", ".join(f"{name} {'all texts' if value is None else f'{value:g}'}" for name, value in found.items())


def _shots(report: FitReport) -> str:
    low, high = min(report.shots), max(report.shots)
    return f"{low} each" if low == high else f"{low} to {high} each"


def _percent(a: Accuracy) -> str:
    low, high = a.interval
    return f"{100 * a.value:.1f} % ({a.n_right} of {a.n}, 95 % interval {100 * low:.1f} to {100 * high:.1f})"
