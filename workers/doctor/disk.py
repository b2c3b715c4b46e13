"""The paths a line writes to: whether it may, and whether there is room for what it may keep there."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workers.doctor.finding import Finding, bad, ok, warn

LEAST_FREE_BYTES = 200_000_000  # a head, its features and a minute of results


@dataclass(frozen=True, slots=True)
class Place:
    """A path of the configuration that is written to."""

    key: str  # where the configuration names it
    path: Path
    is_folder: bool
    may_take_bytes: float = 0.0  # what the line keeps there at most, where it has a limit


def disk(place: Place) -> Finding:
    """Writable, and room for what may come."""
    name = f"disk {place.key}"
    reason = why_not_writable(place)
    if reason is not None:
        return bad(name, f"{place.path}: {reason}", advice="let this user write there, or name another path")
    status = os.statvfs(standing(place))
    free = status.f_bavail * status.f_frsize
    found = f"{place.path}: writable, {_gb(free)} free"
    if free < LEAST_FREE_BYTES:
        return bad(name, found, advice="free space on that disk, or name another path")
    if status.f_files and not status.f_favail:
        return bad(name, f"{found}, but no file can be added (inodes)", advice="delete many small files on that disk")
    wanted = place.may_take_bytes - size_of(place.path)
    if free < wanted:
        return warn(
            name,
            f"{found}, up to {_gb(wanted)} more may come",
            advice="free space, name another path, or lower its limit in the configuration",
        )
    return ok(name, found)


def why_not_writable(place: Place) -> str | None:
    """None where it is; leaves nothing behind."""
    path, folder = place.path, standing(place)
    if path.exists() and path.is_dir() != place.is_folder:
        return f"expected a {'folder' if place.is_folder else 'file'}, got a {'file' if place.is_folder else 'folder'}"
    if not folder.is_dir():
        return f"{folder} is a file, so nothing can lie below it"
    try:
        if path.is_file():
            with path.open("ab"):
                pass
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"
    return None


def standing(place: Place) -> Path:
    """The folder that is there already, where the others will be made."""
    folder = place.path if place.is_folder else place.path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder; 0 where there is none."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _gb(n: float) -> str:
    return f"{n / 1e9:.1f} GB"
