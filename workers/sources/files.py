"""Finds the pictures and videos under a path, in the order people expect."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.errors import SourceError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".ts", ".m4v", ".wmv", ".gif"})
_NUMBER = re.compile(r"(\d+)")


def list_files(path: Path, *, where: str) -> list[Path]:
    """`path` itself, or all pictures and videos below it, hidden ones left out, links to folders not followed.

    Raises SourceError where there is nothing to play.
    """
    if not path.exists():
        raise SourceError(f"{where}: expected a file or folder, found nothing there; check the path")
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(f"{where}: expected a file or folder, got something else (a device or a pipe)")
    found: list[Path] = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if _is_playable(name)]
    if not found:
        raise SourceError(
            f"{where}: expected pictures or videos in this folder or below, found none; known endings: "
            + " ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        )
    return sorted(found, key=lambda file: _natural(file.relative_to(path)))


def _is_playable(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _natural(file: Path) -> list[list[str | int]]:
    """frame2 before frame10; folder by folder."""
    return [[int(text) if text.isdigit() else text for text in _NUMBER.split(part)] for part in file.parts]
