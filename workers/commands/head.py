"""`clearline head`: fit a head on a folder of labelled images per class."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from pipeline.encoders.build import EncoderBundle
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle, Provenance
from pipeline.heads.feature_cache import FeatureCache
from pipeline.heads.fit import FittedHead, fit_head
from pipeline.heads.report import Accuracy, FitReport
from pipeline.heads.support import SupportSet, encode_support, list_support
from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.preprocess import Preprocessor
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import TextDictionary, load_dictionary
from pipeline.types import Roi
from workers.clock import SystemClock
from workers.commands.head_eval import head_eval
from workers.config import LineConfig, load_config
from workers.opening import open_encoder

app = typer.Typer(help="Fit heads and compare them.", no_args_is_help=True)
app.command("eval")(head_eval)
MAX_LISTED = 10  # unreadable files named one by one

Progress = Callable[[str, float], None]


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
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, the folds and the training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a head on few labelled images, judge it by folds among them, write a new version and make it live."""
    loaded = load_config(config)
    with _shown() as progress:
        done = fit_folder(images, config=loaded, out=out, shots=shots, fusion=fusion, seed=seed, progress=progress)
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
    seed: int = 0,
    encoder: EncoderBundle | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Fitted:
    """Everything `head fit` does but print; opens the configured encoder unless one is handed in."""
    found = list_support(images, seed=seed)
    dictionary = _dictionary(config, classes=found.classes, images=images)
    encoder = encoder or open_encoder(config)
    text = _texts(dictionary, encoder=encoder)
    region = common_roi(config)
    support = encode_support(
        found,
        encoder=encoder.image,
        ladder=encoder.ladder,
        cut=Preprocessor(encoder.image.info, region),
        region=f"{region.x},{region.y},{region.width},{region.height}",
        cache=FeatureCache(config.head.cache / "features", encoder=encoder.image.info),
        shots=shots,
        on_progress=lambda share: progress("encoding", share),
    )
    fitted = fit_head(
        support.features,
        text=text,
        kind=config.head.kind,
        fusion=fusion,
        seed=seed,
        on_progress=lambda share: progress("fitting", share),
    )
    folder = out or config.head.registry / config.head.name
    bundle = _save(fitted, folder=folder, encoder=encoder, support=support, dictionary=dictionary)
    return Fitted(folder=folder, bundle=bundle, report=fitted.report, support=support)


def _dictionary(config: LineConfig, *, classes: tuple[str, ...], images: Path) -> TextDictionary | None:
    if config.head.texts is None:
        return None
    return load_dictionary(config.head.texts).ordered_as(classes, folder=str(images))


def _texts(dictionary: TextDictionary | None, *, encoder: EncoderBundle) -> ZeroShotHead | None:
    """Class vectors, where there are texts and a tower to read them."""
    if dictionary is None or encoder.text is None:
        return None
    return build_zero_shot(dictionary, encoder=encoder.text)


def _save(
    fitted: FittedHead,
    *,
    folder: Path,
    encoder: EncoderBundle,
    support: SupportSet,
    dictionary: TextDictionary | None,
) -> HeadBundle:
    provenance = Provenance(
        texts_sha256=None if dictionary is None else dictionary.sha256,
        support_sha256=support.sha256,
        code_version=version("clearline"),
        created_at=datetime.fromtimestamp(SystemClock().utc(), UTC).isoformat(timespec="seconds"),
    )
    return registry.save(fitted, folder=folder, encoder=encoder.image.info, provenance=provenance)


def common_roi(config: LineConfig) -> Roi:
    """The region all cameras share, else the whole picture: labelled images are taken to be cut as frames are."""
    regions = {(roi.x, roi.y, roi.width, roi.height) for camera in config.cameras for roi in camera.rois}
    if len(regions) != 1:
        return Roi()
    x, y, width, height = regions.pop()
    return Roi(roi_id="support", x=x, y=y, width=width, height=height)


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
    yield from (f"note: {note}" for note in report.notes)
    path = registry.bundle_path(done.folder, version=done.bundle.version)
    yield f"{path}: version {done.bundle.version}, live (SHA-256 {done.bundle.sha256[:12]})"


def _shots(report: FitReport) -> str:
    low, high = min(report.shots), max(report.shots)
    return f"{low} each" if low == high else f"{low} to {high} each"


def _percent(a: Accuracy) -> str:
    low, high = a.interval
    return f"{100 * a.value:.1f} % ({a.n_right} of {a.n}, 95 % interval {100 * low:.1f} to {100 * high:.1f})"


@contextmanager
def _shown() -> Iterator[Progress]:
    """A progress bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(file=sys.stderr)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        yield progress
