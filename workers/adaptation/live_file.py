"""How the review band of the live head stands, for lines in other processes: one small file beside the loop's state."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.heads.bundles.atomic import write_atomic


def write_safe(path: Path, *, version: int, safe: bool) -> None:
    """From the next look on, lines widen the band of this version, or do not. Raises OSError."""
    write_atomic(path, content=json.dumps({"version": version, "safe": safe}).encode())


def is_safe(path: Path, *, version: int) -> bool:
    """Is the band to be wider? What is said of another version does not count, nor what cannot be read."""
    try:
        said = json.loads(path.read_bytes())
        return bool(said["safe"]) and said["version"] == version
    except (OSError, ValueError, KeyError, TypeError):
        return False
