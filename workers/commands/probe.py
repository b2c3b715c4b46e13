"""`clearline probe`: open one camera or file, look at it for a few seconds, and say what it gives."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import cv2
import typer
from rich.console import Console
from rich.progress import Progress

from pipeline.errors import BadFrame, ClearlineError, DataError, SourceError, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Clock, Source
from pipeline.types import SourceFrame
from workers.clock import SystemClock
from workers.sources.camera import CameraSource
from workers.sources.gige_reader import SCHEME, GigeReader, GigeSettings
from workers.sources.replay import ReplaySource
from workers.sources.url import device_index, redact, scheme_of

SOURCE_ID = "probe"
LOST = "lost: "


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a look at a source gave; times in seconds, intervals between two pictures in milliseconds."""

    target: str  # without its password
    kind: str  # camera | replay
    reader: str
    codec: str
    width: int
    height: int
    n_frames: int
    n_skipped: int  # stale pictures let pass
    n_bad: int  # pictures that could not be decoded
    duration_s: float
    open_s: float
    first_frame_s: float  # from open to the first picture
    fps: float  # measured, skipped ones counted
    announced_fps: float  # what the stream says; 0 where it does not
    interval_ms_median: float
    interval_ms_max: float
    drift_ms: float | None  # how much later than the stream's own time pictures came at the end than at the start
    ended: str  # time | end of file | lost: <cause>
    snapshot: str | None


@dataclass(slots=True)
class _Look:
    """What was seen so far."""

    received_at: list[float]
    stream_s: list[float]
    n_skipped: int = 0
    n_bad: int = 0
    last: SourceFrame | None = None
    ended: str = "time"


def probe(
    target: Annotated[
        str, typer.Argument(help="rtsp:// or http:// URL, gige://NAME, index of a local camera, file or folder.")
    ],
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to look.")] = 3.0,
    snapshot: Annotated[Path | None, typer.Option(help="Save the last picture here (.png or .jpg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    open_timeout_ms: Annotated[int, typer.Option(min=1, help="Longest wait for a connection.")] = 5000,
    read_timeout_ms: Annotated[int, typer.Option(min=1, help="Longest wait for one picture.")] = 5000,
    transport: Annotated[Literal["tcp", "udp"], typer.Option(help="How RTSP carries the video.")] = "tcp",
    reader: Annotated[
        Literal["auto", "opencv", "pyav", "mjpeg"], typer.Option(help="What decodes the stream; auto suits.")
    ] = "auto",
) -> None:
    """Open a camera or file: frame rate, delay, size, codec, and a snapshot. Exit code 9 when it gives no picture."""
    clock = SystemClock()
    source: Source
    if is_camera(target):
        timeouts = {"open_timeout_ms": open_timeout_ms, "read_timeout_ms": read_timeout_ms}
        source = _camera(target, clock=clock, transport=transport, reader=reader, **timeouts)
    else:
        source = ReplaySource(SOURCE_ID, path=target, clock=clock, speed="real_time")
    try:
        report = look(source, target=redact(target), seconds=seconds, clock=clock, snapshot=snapshot, quiet=as_json)
    except ClearlineError as error:
        if not as_json:
            raise
        print(json.dumps({"target": redact(target), "error": str(error)}))
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        _print(report)
    if report.ended.startswith(LOST):
        raise typer.Exit(SourceUnavailable.exit_code)


def is_camera(target: str) -> bool:
    """True for a URL or a local camera; a file or folder that exists is never one."""
    if Path(target).is_file() or Path(target).is_dir():
        return False
    return device_index(target) is not None or bool(scheme_of(target)) or target.startswith("/dev/")


def _camera(
    target: str,
    *,
    clock: Clock,
    open_timeout_ms: int,
    read_timeout_ms: int,
    transport: Literal["tcp", "udp"],
    reader: Literal["auto", "opencv", "pyav", "mjpeg"],
) -> CameraSource:
    gige = GigeSettings(camera=target.partition("://")[2].strip("/") or None)
    return CameraSource(
        SOURCE_ID,
        url=target,
        clock=clock,
        open_timeout_ms=open_timeout_ms,
        read_timeout_ms=read_timeout_ms,
        frozen_ms=0,
        transport=transport,
        reader=partial(GigeReader, settings=gige) if scheme_of(target) == SCHEME else reader,
    )


def look(
    source: Source, *, target: str, seconds: float, clock: Clock, snapshot: Path | None, quiet: bool
) -> ProbeReport:
    """Open, read for `seconds`, close. Raises SourceError when not one picture came, DataError for the snapshot."""
    started_at = clock.monotonic()
    try:
        source.open()
        opened_at = clock.monotonic()
        seen = _read_for(source, seconds=seconds, clock=clock, quiet=quiet)
        report = _report(source, seen, target=target, started_at=started_at, opened_at=opened_at, snapshot=snapshot)
    finally:
        source.close()
    if snapshot is not None and seen.last is not None:
        _save(snapshot, seen.last)
    return report


def _read_for(source: Source, *, seconds: float, clock: Clock, quiet: bool) -> _Look:
    seen = _Look(received_at=[], stream_s=[])
    end_at = clock.monotonic() + seconds
    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=quiet or not shown.is_terminal) as progress:
        task = progress.add_task("looking", total=seconds)
        while (now := clock.monotonic()) < end_at:
            progress.update(task, completed=seconds - (end_at - now))
            try:
                frame = source.read()
            except BadFrame:
                seen.n_bad += 1
                continue
            except SourceExhausted:
                seen.ended = "end of file"
                break
            except SourceUnavailable as error:
                if seen.last is None:
                    raise
                seen.ended = f"{LOST}{error}"
                break
            if frame is not None:
                _note(seen, frame, source=source)
    return seen


def _note(seen: _Look, frame: SourceFrame, *, source: Source) -> None:
    if seen.received_at:
        seen.n_skipped += frame.skipped  # those before the first lay in the buffer when we came
    seen.received_at.append(frame.received_at)
    stream_s = getattr(source, "stream_s", None)
    if stream_s:
        seen.stream_s.append(stream_s)
    seen.last = frame


def _report(
    source: Source, seen: _Look, *, target: str, started_at: float, opened_at: float, snapshot: Path | None
) -> ProbeReport:
    if seen.last is None:
        raise SourceError(
            f"{target}: no picture came in the given time ({seen.n_bad} broken ones); give more --seconds"
        )
    info = getattr(source, "info", None)
    first_at, last_at = seen.received_at[0], seen.received_at[-1]
    intervals_ms = [(after - before) * 1e3 for before, after in pairwise(seen.received_at)]
    n_passed = len(seen.received_at) - 1 + seen.n_skipped
    height, width = seen.last.image.shape[:2]
    return ProbeReport(
        target=target,
        kind="camera" if source.live else "replay",
        reader=info.reader if info else "opencv",
        codec=info.codec if info else "",
        width=width,
        height=height,
        n_frames=len(seen.received_at),
        n_skipped=seen.n_skipped,
        n_bad=seen.n_bad,
        duration_s=round(last_at - first_at, 3),
        open_s=round(opened_at - started_at, 3),
        first_frame_s=round(first_at - opened_at, 3),
        fps=round(n_passed / (last_at - first_at), 2) if last_at > first_at else 0.0,
        announced_fps=round(info.fps, 2) if info else 0.0,
        interval_ms_median=round(statistics.median(intervals_ms), 1) if intervals_ms else 0.0,
        interval_ms_max=round(max(intervals_ms), 1) if intervals_ms else 0.0,
        drift_ms=_drift_ms(seen),
        ended=seen.ended,
        snapshot=str(snapshot) if snapshot else None,
    )


def _drift_ms(seen: _Look) -> float | None:
    if len(seen.stream_s) < 2 or len(seen.stream_s) != len(seen.received_at):
        return None
    host_s = seen.received_at[-1] - seen.received_at[0]
    return round((host_s - (seen.stream_s[-1] - seen.stream_s[0])) * 1e3, 1)


def _save(path: Path, frame: SourceFrame) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), frame.image)
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: the snapshot cannot be saved ({error}); name a writable .png or .jpg") from error
    if not written:
        raise DataError(f"{path}: the snapshot cannot be saved; is the folder writable, the disk full?")


def _print(report: ProbeReport) -> None:
    fps = f"{report.fps:g} frames/s" + (f" (announced {report.announced_fps:g})" if report.announced_fps else "")
    lines = {
        "source": f"{report.target} ({report.kind}, {report.reader}{', ' + report.codec if report.codec else ''})",
        "size": f"{report.width} x {report.height} pixels",
        "rate": f"{fps}, {report.n_frames} read, {report.n_skipped} skipped, {report.n_bad} broken",
        "delay": f"open {report.open_s:g} s, first picture after {report.first_frame_s:g} s, then every "
        f"{report.interval_ms_median:g} ms (longest {report.interval_ms_max:g} ms)",
        "drift": "" if report.drift_ms is None else f"{report.drift_ms:g} ms against the stream's own time",
        "ended": "" if report.ended == "time" else report.ended,
        "snapshot": report.snapshot or "",
    }
    for name, text in lines.items():
        if text:
            print(f"{name:9} {text}", file=sys.stdout)
