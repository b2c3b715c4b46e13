"""`clearline simulate`: a rendered production line as a video, as numbered pictures, or as a folder per class."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import cv2
import orjson
import typer

from pipeline.errors import ClearlineError, ConfigError, SinkError
from pipeline.simulation import CLASSES, KINDS, NOVEL_CLASSES, Disturbance, SimulatedFrame, SimulatedLine

VIDEO_SUFFIXES = {".mp4": "mp4v", ".avi": "MJPG"}
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
_SCRIPT = re.compile(r"(?P<kind>\w+):(?P<start>[0-9.]+)-(?P<end>[0-9.]*)(:(?P<strength>[0-9.]+))?")


def simulate(
    *,
    out: Annotated[Path | None, typer.Option(help="A video (.mp4, .avi), or a folder for numbered JPEGs.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder: one folder of JPEGs per class, for `head fit`.")
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Pictures per class for --images.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of the recording.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same frames.")] = 10_001,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames per second.")] = 15.0,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "640x480",
    disturb: Annotated[
        list[str] | None,
        typer.Option(help=f"KIND:START-[END][:STRENGTH], seconds and 0 to 1; KIND is {', '.join(KINDS)}. Repeatable."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="A CSV with the truth of each frame of --out.")] = None,
    novel: Annotated[bool, typer.Option("--novel", help="With --images: also the classes no model has seen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Render a production line that never existed, with the truth known."""
    try:
        width, height = parse_size(size)
        script = [parse_disturbance(text) for text in disturb or []]
        if (out is None) == (images is None):
            raise ConfigError("expected one of --out FILE-OR-FOLDER and --images FOLDER, got both or neither")
        line = SimulatedLine(seed, width=width, height=height, fps=fps, disturbances=script)
        if images is not None:
            done = write_classes(line, folder=images, per_class=per_class, novel=novel)
        else:
            assert out is not None
            done = write_recording(line, out=out, n_frames=max(round(seconds * fps), 1), labels=labels)
    except ClearlineError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print(orjson.dumps(done).decode())
    else:
        print(", ".join(f"{key} {value}" for key, value in done.items()))


def parse_size(text: str) -> tuple[int, int]:
    """ "640x480" as width and height. Raises ConfigError."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ConfigError(f"--size must be WIDTHxHEIGHT such as 640x480, got {text!r}")
    return int(found[1]), int(found[2])


def parse_disturbance(text: str) -> Disturbance:
    """ "blur:10-20:0.7" as a Disturbance; without an end it lasts for good. Raises ConfigError."""
    found = _SCRIPT.fullmatch(text)
    if found is None:
        raise ConfigError(f"--disturb must be KIND:START-[END][:STRENGTH] such as blur:10-20:0.7, got {text!r}")
    try:
        numbers = {key: float(found[key]) for key in ("start", "end", "strength") if found[key]}
    except ValueError as error:
        raise ConfigError(f"--disturb {text}: start, end and strength must be numbers") from error
    return Disturbance(
        found["kind"],
        start_s=numbers["start"],
        end_s=numbers.get("end", math.inf),
        strength=numbers.get("strength", 0.5),
    )


def write_classes(line: SimulatedLine, *, folder: Path, per_class: int, novel: bool = False) -> dict[str, Any]:
    """`per_class` JPEGs of each class into a folder of its name; undisturbed, as a person would collect them."""
    classes = (*CLASSES, *NOVEL_CLASSES) if novel else CLASSES
    jobs = [(part, number) for part in classes for number in range(per_class)]
    for part in classes:
        _make_folder(folder / part)
    for part, number in _shown(jobs, total=len(jobs), what="rendering"):
        frame = line.sample(part, number=number)
        _write_jpeg(folder / part / f"{part}-{number:04d}.jpg", image=frame.image)
    return {"folder": str(folder), "classes": len(classes), "images": len(jobs)}


def write_recording(line: SimulatedLine, *, out: Path, n_frames: int, labels: Path | None) -> dict[str, Any]:
    """Frames 0 to `n_frames` as a video or a folder; frames of a dead camera are left out and said so in the CSV."""
    rows: list[list[Any]] = []
    n_written = 0
    with _recorder(out, line=line) as record:
        for index in _shown(range(n_frames), total=n_frames, what="rendering"):
            file = ""
            if line.dead_until(index) is None:
                file = record(line.render(index))
                n_written += 1
            disturbances = " ".join(line.disturbances_at(index))
            rows.append([index, f"{line.time_of(index):.3f}", file, line.truth(index), disturbances])
    if labels is not None:
        _write_csv(labels, rows=rows)
    return {"out": str(out), "frames": n_written, "dead": n_frames - n_written}


@contextmanager
def _recorder(out: Path, *, line: SimulatedLine) -> Iterator[Any]:
    """A function that stores one frame and returns the name of its file."""
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        if out.suffix and not out.is_dir():
            raise ConfigError(f"--out must be a folder or end in {', '.join(VIDEO_SUFFIXES)}, got {out}")
        _make_folder(out)

        def picture(frame: SimulatedFrame) -> str:
            name = f"{frame.index:06d}.jpg"
            _write_jpeg(out / name, image=frame.image)
            return name

        yield picture
        return
    _make_folder(out.parent)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*VIDEO_SUFFIXES[out.suffix.lower()]), line.fps, line.size)
    if not writer.isOpened():
        raise SinkError(f"{out}: expected a file that can be written as video, OpenCV could not open it")

    def append(frame: SimulatedFrame) -> str:
        writer.write(frame.image)
        return out.name

    try:
        yield append
    finally:
        writer.release()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder}: expected a folder that can be made, got: {error.strerror}") from error


def _write_jpeg(path: Path, *, image: Any) -> None:
    _, encoded = cv2.imencode(".jpg", image, _JPEG)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise SinkError(f"{path}: expected to write a picture, got: {error.strerror}") from error


def _write_csv(path: Path, *, rows: list[list[Any]]) -> None:
    _make_folder(path.parent)
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "time_s", "file", "truth", "disturbances"])
            writer.writerows(rows)
    except OSError as error:
        raise SinkError(f"{path}: expected to write labels, got: {error.strerror}") from error


def _shown(items: Iterable[Any], *, total: int, what: str) -> Iterator[Any]:
    """The items, with a progress bar on a terminal that stays silent for the first two seconds."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, visible=False)
        for item in items:
            yield item
            bar.advance(task)
            elapsed_s = bar.tasks[0].elapsed or 0.0
            if elapsed_s > 2.0:
                bar.update(task, visible=True)
                bar.refresh()
