"""`clearline demo`: the whole product on a simulated line, from eight pictures per class to a conserved count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console

from pipeline.errors import BundleError, SinkError
from pipeline.heads.bundles import registry
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.dictionary import load_dictionary
from workers.app import Pipeline
from workers.commands.head import as_text, fit_folder
from workers.commands.run import run_and_report
from workers.config.cameras import SimulateSourceConfig
from workers.config.line import JsonlSinkConfig, LineConfig, load_config
from workers.opening.sources import open_line

SHIPPED = Path(__file__).parents[2] / "configs" / "demo.yaml"
FOLDER = Path("runs/demo-labelled")  # not where people keep what they label


def demo(
    *,
    config: Annotated[Path, typer.Option(help="A line of simulated cameras.")] = SHIPPED,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long; default: Ctrl-C.", min=0.1)] = None,
    shots: Annotated[int, typer.Option(help="Labelled pictures per class for the head.", min=1, max=64)] = 8,
    picture: Annotated[Path | None, typer.Option(help="Draw what was mistaken and mended into this PNG.")] = None,
    refit: Annotated[bool, typer.Option(help="Render and fit again although a head is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Last line on stdout: one JSON object.")] = False,
) -> None:
    """Fit a head on a few pictures of a simulated line, then run that line and compare with zero-shot CLIP."""
    console = Console(stderr=as_json)
    loaded = load_config(config)
    if refit or not _fitted(loaded):
        _fit(loaded, shots=shots, console=console)
    pipeline = Pipeline(loaded, say=lambda line: console.print(line, style="dim"))
    run_and_report(pipeline, console=console, seconds=seconds, as_json=as_json, title="Clearline demo line")
    if picture is not None:
        _draw(loaded, shots=shots, path=picture)
        console.print(f"picture of the run: {picture}", style="dim")


def _fitted(config: LineConfig) -> bool:
    try:
        registry.live_version(config.head.registry / config.head.name)
    except BundleError:
        return False
    return True


def _fit(config: LineConfig, *, shots: int, console: Console) -> None:
    sources = [one.source for one in config.cameras if isinstance(one.source, SimulateSourceConfig)]
    lines = [open_line(source.model_copy(update={"disturbances": ()})) for source in sources]
    texts = config.head.texts
    classes = load_dictionary(texts).class_ids if texts is not None else ()
    console.print(f"rendering {shots} labelled pictures of each of {len(classes)} classes to {FOLDER}", style="dim")
    for class_id in classes:
        render_labelled(lines, class_id=class_id, n=shots, folder=FOLDER)
    with console.status("encoding and fitting the deconfusion head"):
        done = fit_folder(FOLDER, config=config, shots=shots)
    for text in as_text(done):
        console.print(text, style="dim", highlight=False)


def _draw(config: LineConfig, *, shots: int, path: Path) -> None:
    from workers.commands.demo_picture import draw_picture, read_results

    lines = {
        camera.id: open_line(camera.source)
        for camera in config.cameras
        if isinstance(camera.source, SimulateSourceConfig)
    }
    texts = load_dictionary(config.head.texts) if config.head.texts is not None else None
    names = {one.class_id: one.name for one in texts.classes} if texts is not None else {}
    results = next(sink.path for sink in config.sinks if isinstance(sink, JsonlSinkConfig))
    image = draw_picture(read_results(results), lines=lines, names=names, shots=shots)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def render_labelled(lines: list[SimulatedLine], *, class_id: str, n: int, folder: Path) -> None:
    """n pictures of one class, taken from the cameras in turn; none of them appears in a run."""
    target = folder / class_id
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.png"):
        old.unlink()
    for index in range(n):
        frame = lines[index % len(lines)].sample(class_id, number=index)
        if not cv2.imwrite(str(target / f"{index:03d}.png"), frame.image):
            raise SinkError(f"{target}: expected a folder that can be written to, got an error writing {index:03d}.png")
